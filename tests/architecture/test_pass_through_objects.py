"""A function takes what it uses. Only the places that put a process together take all services of the process."""

import ast
import re
from collections.abc import Iterator

from fixtures.repository import SOURCE, list_sources

WHOLE = {"Services", "ServicesDep"}

# What puts a process together: an API replica and its background services, a worker and what its tasks share.
COMPOSITION_ROOTS = {
    "api/lifespan.py AppState",
    "api/lifespan.py _background_services",
    "frames/front/state.py open_front",
    "worker/main.py _Worker.__init__",
    "worker/context.py open_worker_context",
}


def find_takers(source: str) -> Iterator[str]:
    """Functions with a parameter, and classes with a field, of a type in `WHOLE`."""
    yield from _takers_in(ast.parse(source), prefix="")


def _takers_in(parent: ast.AST, prefix: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(parent):
        name = prefix
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{node.name}"
            if any(map(_is_whole, _annotations_of(node))):
                yield name
            name += "."
        yield from _takers_in(node, name)


def _annotations_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr | None]:
    if isinstance(node, ast.ClassDef):
        yield from (field.annotation for field in node.body if isinstance(field, ast.AnnAssign))
        return
    arguments = node.args
    yield from (each.annotation for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _is_whole(annotation: ast.expr | None) -> bool:
    # As text, so that an annotation in quotes counts too.
    return annotation is not None and bool(WHOLE & set(re.findall(r"\w+", ast.unparse(annotation))))


def test_only_composition_roots_take_all_services() -> None:
    takers = {f"{path.relative_to(SOURCE)} {name}" for path in list_sources() for name in find_takers(path.read_text())}

    assert takers == COMPOSITION_ROOTS


def test_every_way_to_take_all_services_is_found() -> None:
    source = """
async def a(request: Request, services: Services): ...
def b(*, services: "Services | None" = None): ...
class C:
    services: Annotated[Services, Depends(get)]
    def d(self, services: ServicesDep, /): ...
def e(database: Database) -> Services: ...
"""
    assert list(find_takers(source)) == ["a", "b", "C", "C.d"]
