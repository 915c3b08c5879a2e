"""The first tables: jobs and all that belongs to them, webhooks, workers, leader leases, API keys and secrets."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "f744a0a90c27"
down_revision = None
branch_labels = None
depends_on = None


# Triggers, so that a change of a job and the change of the index are one transaction and one round trip. On SQLite, a
# table that alembic copies loses its triggers: a migration that copies `jobs` makes them again.
_SEARCH_INDEX = {
    "sqlite": (
        "CREATE TABLE job_words (id INTEGER PRIMARY KEY, job_id VARCHAR NOT NULL UNIQUE)",
        """
        CREATE VIRTUAL TABLE job_words_fts USING fts5(
          title, text, filters, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0'
        )
        """,
        """
        CREATE TRIGGER jobs_words_insert AFTER INSERT ON jobs BEGIN
          INSERT INTO job_words (job_id) VALUES (new.id);
          INSERT INTO job_words_fts (rowid, title, text, filters)
            VALUES (last_insert_rowid(), new.search_title, new.search_text, new.search_filters);
        END
        """,
        # The index keeps no copy of the words, so it is told what to remove.
        """
        CREATE TRIGGER jobs_words_update AFTER UPDATE OF search_title, search_text, search_filters ON jobs BEGIN
          INSERT INTO job_words_fts (job_words_fts, rowid, title, text, filters)
            SELECT 'delete', id, old.search_title, old.search_text, old.search_filters
            FROM job_words WHERE job_id = old.id;
          INSERT INTO job_words_fts (rowid, title, text, filters)
            SELECT id, new.search_title, new.search_text, new.search_filters FROM job_words WHERE job_id = old.id;
        END
        """,
        """
        CREATE TRIGGER jobs_words_delete AFTER DELETE ON jobs BEGIN
          INSERT INTO job_words_fts (job_words_fts, rowid, title, text, filters)
            SELECT 'delete', id, old.search_title, old.search_text, old.search_filters
            FROM job_words WHERE job_id = old.id;
          DELETE FROM job_words WHERE job_id = old.id;
        END
        """,
    ),
    "postgresql": (
        "CREATE TABLE job_words (job_id VARCHAR PRIMARY KEY, words TSVECTOR NOT NULL)",
        # A search reads the pending list from its start to its end, so the list stays short.
        "CREATE INDEX job_words_words_idx ON job_words USING gin (words) WITH (gin_pending_list_limit = 256)",
        # The words are divided already. The parser of PostgreSQL would divide some of them again, by the locale.
        # Words of the title are there once more with a mark: index and statistics know nothing of weights.
        """
        CREATE FUNCTION job_words_marked(words text, mark text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
          SELECT coalesce(string_agg('''' || mark || word || ''':' || least(place, 16383), ' '), '')::tsvector
          FROM unnest(string_to_array(words, ' ')) WITH ORDINALITY AS each (word, place)
        $$
        """,
        """
        CREATE FUNCTION jobs_words() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF TG_OP = 'DELETE' THEN
            DELETE FROM job_words WHERE job_id = old.id;
          ELSE
            INSERT INTO job_words (job_id, words) VALUES (
              new.id,
              job_words_marked(new.search_title, '') || job_words_marked(new.search_text, '')
                || job_words_marked(new.search_title, '~')
                || array_to_tsvector(string_to_array(new.search_filters, ' '))
            ) ON CONFLICT (job_id) DO UPDATE SET words = excluded.words;
          END IF;
          RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER jobs_words AFTER INSERT OR DELETE OR UPDATE OF search_title, search_text, search_filters ON jobs
          FOR EACH ROW EXECUTE FUNCTION jobs_words()
        """,
    ),
}
_NO_SEARCH_INDEX = {
    "sqlite": (
        *(f"DROP TRIGGER jobs_words_{event}" for event in ("insert", "update", "delete")),
        "DROP TABLE job_words_fts",
        "DROP TABLE job_words",
    ),
    "postgresql": (
        "DROP TRIGGER jobs_words ON jobs",
        "DROP FUNCTION jobs_words()",
        "DROP FUNCTION job_words_marked(text, text)",
        "DROP TABLE job_words",
    ),
}


def _execute_all(statements: Mapping[str, Sequence[str]]) -> None:
    for statement in statements[op.get_bind().dialect.name]:
        op.execute(statement)


def upgrade() -> None:

    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("previous_digest", sa.String(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_table(
        "leader_leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("leader_id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leader_leases_pkey")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "route", "key", name=op.f("idempotency_keys_pkey")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("idempotency_keys_created_at_idx"), ["created_at"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("title", sa.String(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("favorite", sa.Boolean(), nullable=False),
        sa.Column("edited_from", sa.String(), nullable=True),
        sa.Column("draft_job_id", sa.String(), nullable=True),
        sa.Column("draft_of", sa.String(), nullable=True),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("moved_to_front_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("search_title", sa.Text(), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("search_filters", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("output_artifact_id", sa.String(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queue_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approval_timeout_s", sa.Float(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_timeout_s", sa.Float(), nullable=False),
        sa.Column("run_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("jobs_finished_at_idx"), ["finished_at"], unique=False)
        batch_op.create_index(batch_op.f("jobs_owner_id_id_idx"), ["owner_id", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("jobs_owner_id_state_created_at_model_idx"),
            ["owner_id", "state", "created_at", "model"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("jobs_run_deadline_at_idx"), ["run_deadline_at"], unique=False)
        batch_op.create_index(batch_op.f("jobs_state_id_idx"), ["state", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("jobs_state_queue_deadline_at_idx"), ["state", "queue_deadline_at"], unique=False
        )

    op.create_table(
        "owners",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("owners_pkey")),
    )
    op.create_table(
        "duration_stats",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("postprocessing", sa.String(), nullable=False),
        sa.Column("total_s_per_weight", sa.Float(), nullable=False),
        sa.Column("finish_s_per_weight", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "width", "height", "num_frames", "steps", "postprocessing", name=op.f("duration_stats_pkey")
        ),
    )
    with op.batch_alter_table("duration_stats", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("duration_stats_updated_at_idx"), ["updated_at"], unique=False)

    op.create_table(
        "secrets",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("secrets_pkey")),
    )
    op.create_table(
        "job_counters",
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state", "code", name=op.f("job_counters_pkey")),
    )
    op.create_table(
        "webhook_refusals",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "url", name=op.f("webhook_refusals_pkey")),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_secret", sa.String(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("webhook_secrets_pkey")),
    )
    _create_fleet_tables()
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("shares_file", sa.Boolean(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("artifacts_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("artifacts_pkey")),
    )
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("artifacts_job_id_idx"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("artifacts_key_idx"), ["key"], unique=False)
        batch_op.create_index(batch_op.f("artifacts_owner_id_id_idx"), ["owner_id", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("artifacts_owner_id_shares_file_size_bytes_idx"),
            ["owner_id", "shares_file", "size_bytes"],
            unique=False,
        )

    _create_reusable_clips()
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("owner_seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("events_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("events_pkey")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("events_owner_id_owner_seq_idx"), ["owner_id", "owner_seq"], unique=True)

    op.create_table(
        "tasks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("prerequisites", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dispatch_seq", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("preemptions", sa.Integer(), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("affinity_skipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("eligible_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("stop_reason", sa.String(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("artifact_id", sa.String(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("rerolled_from", sa.BigInteger(), nullable=True),
        sa.Column("made_with", sa.JSON(), nullable=False),
        sa.Column("content_key", sa.String(), nullable=True),
        sa.Column("is_reused", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("tasks_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("tasks_job_id_position_idx"), ["job_id", "position"], unique=False)
        batch_op.create_index(batch_op.f("tasks_lease_owner_idx"), ["lease_owner"], unique=False)
        batch_op.create_index(batch_op.f("tasks_state_lease_until_idx"), ["state", "lease_until"], unique=False)
        batch_op.create_index(
            batch_op.f("tasks_state_queue_dispatched_at_idx"), ["state", "queue", "dispatched_at"], unique=False
        )

    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("webhook_deliveries_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_deliveries_pkey")),
    )
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("webhook_deliveries_job_id_seq_idx"), ["job_id", "seq"], unique=True)
        batch_op.create_index(batch_op.f("webhook_deliveries_owner_id_id_idx"), ["owner_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("webhook_deliveries_state_next_at_idx"), ["state", "next_at"], unique=False)

    op.create_table(
        "attempts",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("waited_s", sa.Float(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("log", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("attempts_task_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("attempts_pkey")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("attempts_started_at_idx"), ["started_at"], unique=False)

    op.create_table(
        "usage_ledger",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("usage_ledger_pkey")),
    )
    with op.batch_alter_table("usage_ledger", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("usage_ledger_started_at_idx"), ["started_at"], unique=False)


def _create_reusable_clips() -> None:
    op.create_table(
        "reusable_clips",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("content_key", sa.String(), nullable=False),
        sa.Column("artifact_id", sa.String(), nullable=False),
        sa.Column("continues_key", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name=op.f("reusable_clips_artifact_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "content_key", name=op.f("reusable_clips_pkey")),
    )
    with op.batch_alter_table("reusable_clips", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("reusable_clips_artifact_id_idx"), ["artifact_id"], unique=False)
    _create_storyboards()
    _create_job_embeddings()
    _execute_all(_SEARCH_INDEX)


def _create_fleet_tables() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("slots", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("serves", sa.JSON(), nullable=False),
        sa.Column("memory_used_bytes", sa.BigInteger(), nullable=True),
        sa.Column("memory_total_bytes", sa.BigInteger(), nullable=True),
        sa.Column("host_memory_used_bytes", sa.BigInteger(), nullable=True),
        sa.Column("host_memory_budget_bytes", sa.BigInteger(), nullable=True),
        sa.Column("resident_bytes", sa.BigInteger(), nullable=True),
        sa.Column("model_loads", sa.Integer(), nullable=False),
        sa.Column("model_evictions", sa.Integer(), nullable=False),
        sa.Column("memory_fallbacks", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unload", sa.JSON(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("fault", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("workers_expires_at_idx"), ["expires_at"], unique=False)

    op.create_table(
        "pauses",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pauses_pkey")),
    )
    op.create_table(
        "key_shares",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("max_running_clips", sa.Integer(), nullable=True),
        sa.Column("max_running_clips_per_model", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("key_shares_pkey")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=True),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("affected_id", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("audit_log_at_idx"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("audit_log_target_id_idx"), ["target", "id"], unique=False)
    _create_statistics()


def _create_statistics() -> None:
    op.create_table(
        "measurements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("measurements_pkey")),
    )
    op.create_table(
        "stats",
        sa.Column("resolution_s", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("shape", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(
            "resolution_s", "starts_at", "subject", "name", "model", "shape", name=op.f("stats_pkey")
        ),
    )
    op.create_table(
        "usage_days",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("clips", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("device_s", sa.Float(), nullable=False),
        sa.Column("worker_s", sa.Float(), nullable=False),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("video_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "starts_at", name=op.f("usage_days_pkey")),
    )
    with op.batch_alter_table("usage_days", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("usage_days_starts_at_idx"), ["starts_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("usage_ledger", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("usage_ledger_started_at_idx"))

    op.drop_table("usage_ledger")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("attempts_started_at_idx"))

    op.drop_table("attempts")
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("webhook_deliveries_state_next_at_idx"))
        batch_op.drop_index(batch_op.f("webhook_deliveries_owner_id_id_idx"))
        batch_op.drop_index(batch_op.f("webhook_deliveries_job_id_seq_idx"))

    op.drop_table("webhook_deliveries")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("tasks_state_queue_dispatched_at_idx"))
        batch_op.drop_index(batch_op.f("tasks_state_lease_until_idx"))
        batch_op.drop_index(batch_op.f("tasks_lease_owner_idx"))
        batch_op.drop_index(batch_op.f("tasks_job_id_position_idx"))

    op.drop_table("tasks")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("events_owner_id_owner_seq_idx"))

    op.drop_table("events")
    _drop_what_refers_to_jobs()
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("artifacts_owner_id_shares_file_size_bytes_idx"))
        batch_op.drop_index(batch_op.f("artifacts_owner_id_id_idx"))
        batch_op.drop_index(batch_op.f("artifacts_key_idx"))
        batch_op.drop_index(batch_op.f("artifacts_job_id_idx"))

    op.drop_table("artifacts")
    _drop_fleet_tables()
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("jobs_state_queue_deadline_at_idx"))
        batch_op.drop_index(batch_op.f("jobs_state_id_idx"))
        batch_op.drop_index(batch_op.f("jobs_run_deadline_at_idx"))
        batch_op.drop_index(batch_op.f("jobs_owner_id_state_created_at_model_idx"))
        batch_op.drop_index(batch_op.f("jobs_owner_id_id_idx"))
        batch_op.drop_index(batch_op.f("jobs_finished_at_idx"))

    op.drop_table("jobs")
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("idempotency_keys_created_at_idx"))

    op.drop_table("idempotency_keys")
    op.drop_table("webhook_secrets")
    op.drop_table("webhook_refusals")
    op.drop_table("job_counters")
    op.drop_table("secrets")
    with op.batch_alter_table("duration_stats", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("duration_stats_updated_at_idx"))

    op.drop_table("duration_stats")
    op.drop_table("owners")
    op.drop_table("leader_leases")
    op.drop_table("api_keys")


def _drop_what_refers_to_jobs() -> None:
    _execute_all(_NO_SEARCH_INDEX)
    _drop_job_embeddings()
    _drop_storyboards()
    with op.batch_alter_table("reusable_clips", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("reusable_clips_artifact_id_idx"))

    op.drop_table("reusable_clips")


def _drop_fleet_tables() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("workers_expires_at_idx"))

    op.drop_table("workers")
    op.drop_table("pauses")
    op.drop_table("key_shares")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("audit_log_target_id_idx"))
        batch_op.drop_index(batch_op.f("audit_log_at_idx"))

    op.drop_table("audit_log")
    _drop_statistics()


def _drop_statistics() -> None:
    with op.batch_alter_table("usage_days", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("usage_days_starts_at_idx"))

    op.drop_table("usage_days")
    op.drop_table("stats")
    op.drop_table("measurements")


def _create_job_embeddings() -> None:
    op.create_table(
        "job_embeddings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("job_embeddings_job_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("job_embeddings_pkey")),
        sa.UniqueConstraint("job_id", name=op.f("job_embeddings_job_id_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("job_embeddings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("job_embeddings_owner_id_id_idx"), ["owner_id", "id"], unique=False)


def _drop_job_embeddings() -> None:
    with op.batch_alter_table("job_embeddings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("job_embeddings_owner_id_id_idx"))

    op.drop_table("job_embeddings")


def _create_storyboards() -> None:
    op.create_table(
        "storyboards",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("planner", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("reel", sa.JSON(), nullable=True),
        sa.Column("script", sa.JSON(), nullable=True),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("adjustments", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("writing_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("storyboards_pkey")),
    )
    with op.batch_alter_table("storyboards", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("storyboards_owner_id_id_idx"), ["owner_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("storyboards_updated_at_idx"), ["updated_at"], unique=False)


def _drop_storyboards() -> None:
    with op.batch_alter_table("storyboards", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("storyboards_updated_at_idx"))
        batch_op.drop_index(batch_op.f("storyboards_owner_id_id_idx"))

    op.drop_table("storyboards")
