"""`phoenix audit`: what administrators did."""

from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import err, exit_on_error, out, print_json
from phoenix.cli.tables import audit_table


def audit(
    actor: Annotated[str | None, typer.Option(help="Only acts of this key.")] = None,
    action: Annotated[str | None, typer.Option(help="Only these, such as job.cancel.")] = None,
    target: Annotated[str | None, typer.Option(help="Only acts on this job, key, worker, model or queue.")] = None,
    of_key: Annotated[str | None, typer.Option(help="Only acts on what this key owns.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
    cursor: Annotated[str | None, typer.Option(help="Cursor that the previous page printed.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List what administrators did, newest first.

    Needs a key with the scope operator or admin.
    """
    with exit_on_error(), connect(url, api_key) as phoenix:
        page = phoenix.audit(actor=actor, action=action, target=target, owner=of_key, limit=limit, cursor=cursor)
        if as_json:
            print_json(page)
            return
        out.print(audit_table(page.data, width=out.width) if page.data else "Nothing.")
        if page.next_cursor:
            err.print(f"More: --cursor {page.next_cursor}", style="dim")
