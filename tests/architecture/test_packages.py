"""Packages point one way at every depth, files are worth opening, and a name is used once."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from fixtures.source_tree import Module, classes_of, import_statements, imported_modules, read_modules

MAX_IMPORTS_PER_1000_LINES = 38
MAX_FILES_IN_A_PACKAGE = 14
SMALL_FILE_LINES = 60

# Each package may have one of these: the name says the role, and the package says of what.
ROLE_NAMES = {"__init__", "__main__", "errors", "tables", "options"}

# Small files that one sibling imports, and why they stand alone all the same.
SMALL_ON_PURPOSE: Mapping[str, str] = {
    "phoenix.media.probe_child.ogg": "each container format is read in a file of its own",
    "phoenix.media.probe_child.pictures": "pictures and streams are read by different libraries",
}


def test_no_class_name_is_used_twice() -> None:
    names = Counter(node.name for module in read_modules().values() for node in classes_of(module))

    assert [name for name, uses in names.items() if uses > 1] == []


def test_no_file_name_is_used_twice_in_a_package_and_its_parents() -> None:
    repeated = [
        (module.name, other)
        for module in read_modules().values()
        if (leaf := module.path.stem) not in ROLE_NAMES
        for other in (f"{parent}.{leaf}" for parent in parents_of(module.package))
        if other in read_modules() and read_modules()[other].path.stem == leaf
    ]

    assert repeated == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle({name: set(imported_modules(name)) for name in read_modules()}) == []


def test_no_packages_import_each_other_in_a_circle_at_any_depth() -> None:
    circles = {package: find_circle(graph) for package, graph in graphs_of_children().items()}

    assert {package: circle for package, circle in circles.items() if circle} == {}


def test_no_package_has_too_many_files() -> None:
    files = Counter(module.package for module in read_modules().values() if not module.path.stem.startswith("__"))

    assert {package: count for package, count in files.items() if count > MAX_FILES_IN_A_PACKAGE} == {}


def test_a_small_file_that_one_sibling_imports_is_merged_into_it() -> None:
    assert {name for name, _ in small_files_of_one_sibling()} == set(SMALL_ON_PURPOSE)


def test_internal_imports_are_few() -> None:
    modules = read_modules().values()
    statements = sum(1 for module in modules for _ in import_statements(module))
    per_1000_lines = 1000 * statements / sum(module.lines for module in modules)

    assert per_1000_lines <= MAX_IMPORTS_PER_1000_LINES


def parents_of(package: str) -> Iterator[str]:
    """The packages around a package, from the inside."""
    while "." in package:
        package = package.rpartition(".")[0]
        yield package


def importers_of() -> Mapping[str, set[str]]:
    importers: defaultdict[str, set[str]] = defaultdict(set)
    for name in read_modules():
        for imported in imported_modules(name):
            importers[imported].add(name)
    return importers


def small_files_of_one_sibling() -> Iterator[tuple[str, str]]:
    modules = read_modules()
    importers = importers_of()
    for name, module in modules.items():
        if module.lines >= SMALL_FILE_LINES or module.path.name in {"__init__.py", "__main__.py"}:
            continue
        found = [modules[importer] for importer in importers[name]]
        if len(found) == 1 and is_sibling(module, found[0]):
            yield name, found[0].name


def is_sibling(module: Module, other: Module) -> bool:
    return other.package == module.package and other.path.name != "__init__.py"


def graphs_of_children() -> Mapping[str, Mapping[str, set[str]]]:
    """For each package: which of its children import which others, their own contents included."""
    graphs: dict[str, dict[str, set[str]]] = {}
    for name in read_modules():
        for imported in imported_modules(name):
            package, child, other = where_they_part(name, imported)
            if child and other and child != other:
                graphs.setdefault(package, {}).setdefault(child, set()).add(other)
    return graphs


def where_they_part(name: str, other: str) -> tuple[str, str, str]:
    """The innermost package that both names lie in, and the child of it that each belongs to; "" for itself."""
    one, two = name.split("."), other.split(".")
    depth = 0
    while depth < min(len(one), len(two)) and one[depth] == two[depth]:
        depth += 1
    return ".".join(one[:depth]), ".".join(one[depth : depth + 1]), ".".join(two[depth : depth + 1])


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of the graph as the list of its nodes; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
