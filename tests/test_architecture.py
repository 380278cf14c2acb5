"""The order of packages: imports only go down, without a circle, and only few modules touch the outside world.

Names are checked too: a class name stands for one class, and a text that points to a module points to one that exists.
So are the pages that say where things are.
"""

import ast
import asyncio
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import arkbatch
from arkbatch.simulator.server import Settings, serve

PACKAGE = Path(__file__).parent.parent / "arkbatch"

# From the lowest to the highest. A package imports itself and those before it.
PACKAGES = [
    "core",
    "protocol",
    "rows",
    "journal",
    "pricing",
    "transport",
    "simulator",
    "limits",
    "monitor",
    "engine",
    "reports",
    "batch_jobs",
    "cluster",
    "estimate",
    "config",
    "api",
    "cli",
]
OUTSIDE = {"asyncio", "aiohttp", "time", "random", "os", "pathlib", "tqdm"}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
SIMULATOR_USERS = {"simulator", "cli", "api"}


@cache
def nodes(path):
    """The syntax tree of a module, flat."""
    return list(ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))))


def imported(path):
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(path):
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "arkbatch" and len(parts) > 1 and parts[1] in PACKAGES:
            yield parts[1]


# Each rule is one test over all modules: 1,400 tests of a few lines took longer than what they tested.


def test_imports_only_go_down():
    upward = {
        str(path): above
        for path in MODULES
        if (above := [name for name in packages_of(path) if PACKAGES.index(name) > PACKAGES.index(path.parts[0])])
    }
    assert upward == {}


def test_only_the_command_line_knows_the_simulator():
    others = [path for path in MODULES if path.parts[0] not in SIMULATOR_USERS]
    assert len(others) > 300
    assert [str(path) for path in others if "simulator" in packages_of(path)] == []


# The modules that may touch time, chance, files, sockets or the terminal. `api`, `cli` and `simulator` may as a whole.
TOUCHES_OUTSIDE = {
    "batch_jobs": {
        "ark_job_service",
        "batch_session",
        "collect_files",
        "export_files",
        "http_service",
        "journal_rebuilding",
        "line_records",
        "output_files",
        "parcel_context",
        "parcel_cutter",
        "parcel_journal",
        "parcel_loop",
        "parcel_polling",
        "parcel_results",
        "parcel_submission",
        "parcel_worker",
        "service",
    },
    "config": {"encryption_choice", "job_file", "named_files", "resolve", "variables"},
    "engine": {
        "call",
        "cost_limit",
        "hedging",
        "command_handler",
        "fail_fast",
        "json_schema",
        "open_run",
        "resume_check",
        "periodic_sync",
        "progress_report",
        "recorder",
        "retry_run",
        "row_runner",
        "run_beside",
        "schema_process",
        "session",
        "session_summary",
        "ticker",
        "tool_module",
        "session_parts",
        "worker_pool",
    },
    "estimate": {"build_estimate", "input_sizes", "measured_rows"},
    "journal": {
        "atomic_files",
        "group_on_disk",
        "journal",
        "record_reader",
        "rebase",
        "merge_state",
        "attempt_lines",
        "record_index",
        "repeated_rows",
        "run_directory",
        "run_view",
        "shard_files",
        "shard_records",
    },
    "cluster": {
        "bucket_shards",
        "driver",
        "earlier_records",
        "merge",
        "plan",
        "publishing",
        "ray_engine",
        "scratch_directory",
        "service",
        "shard_attempt",
        "worker",
    },
    "limits": {"limiter", "leased_rates", "wait_queue"},
    "monitor": {"control_socket", "notify", "notify_channels", "progress_bar", "run_log"},
    "pricing": {"bill_csv", "price_files", "run_price_file"},
    "reports": {
        "answer_table",
        "answers",
        "columnar_answers",
        "run_input",
        "table_writers",
        "check",
        "cost",
        "find_record",
        "find_run",
        "live",
        "loopback",
        "metrics",
        "reconcile",
        "results",
        "show",
        "status",
        "timeline",
        "vectors",
    },
    "rows": {
        "piped_input",
        "columnar",
        "csv_shape",
        "csv_table",
        "input_file",
        "remote_input",
        "json_documents",
        "media_files",
        "several_files",
        "source",
        "object_folder",
        "object_storage",
        "workbook",
    },
    "transport": {
        "aiohttp_internals",
        "aiohttp_trial",
        "auth",
        "batch_http",
        "connection",
        "connection_slots",
        "control_plane",
        "encrypting",
        "fd_limit",
        "large_body",
        "loose_http",
        "tos_bucket",
        "reply_reader",
        "session_posts",
        "transport",
        "transport_errors",
    },
}


def touches_outside(path):
    return bool(OUTSIDE & {name.split(".")[0] for name in imported(path)})


def test_only_listed_modules_touch_the_outside_world():
    pure = [path for path in MODULES if path.parts[0] not in {"api", "cli", "simulator"}]
    unlisted = [path for path in pure if path.stem not in TOUCHES_OUTSIDE.get(path.parts[0], set())]
    assert len(unlisted) > 150
    assert [str(path) for path in unlisted if touches_outside(path)] == []


def test_the_list_of_modules_that_touch_the_outside_world_is_short():
    touching = {(path.parts[0], path.stem) for path in MODULES if touches_outside(path)}
    listed = {(package, stem) for package, stems in TOUCHES_OUTSIDE.items() for stem in stems}
    assert listed - touching == set()


def test_no_import_circle():
    graph = {}
    for path in MODULES:
        name = ".".join(("arkbatch", *path.with_suffix("").parts)).removesuffix(".__init__")
        graph[name] = {target for target in imported(path) if target.startswith("arkbatch.") and target != name}

    def reaches(start, goal, seen):
        for target in graph.get(start, ()):
            if target == goal:
                return True
            if target not in seen:
                seen.add(target)
                if reaches(target, goal, seen):
                    return True
        return False

    assert [name for name in graph if reaches(name, name, set())] == []


def test_no_two_classes_have_the_same_name():
    places = defaultdict(list)
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def names_in(path):
    """What a module or a package defines at its top, and the names of its methods."""
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in nodes(path.relative_to(PACKAGE)) if path.exists() else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def exists(dotted):
    place = PACKAGE
    for part in dotted.split("."):
        if not (place / part).is_dir() and not (place / f"{part}.py").exists():
            return part in names_in(place)
        place /= part
    return True


def test_every_module_that_a_text_names_exists():
    named = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
    missing = {
        (str(path), name)
        for path in MODULES
        for name in named.findall((PACKAGE / path).read_text(encoding="utf-8"))
        if not exists(name)
    }
    assert missing == set()


def test_the_guide_for_contributors_lists_the_packages_in_their_order():
    guide = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/` \|", guide, re.MULTILINE) == PACKAGES[::-1]


def test_a_row_meets_the_functions_in_the_order_of_the_architecture_page(tmp_path):
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", page, re.MULTILINE)
    assert len(steps) >= 15
    met = iter(functions_of_a_row(tmp_path))
    for step in steps:
        assert step in met, f"{step} does not exist, or comes earlier: correct docs/architecture.md"


def functions_of_a_row(tmp_path):
    """The functions that one chat row calls, in order."""
    (tmp_path / "in.jsonl").write_text('{"prompt": "hello"}\n', encoding="utf-8")
    calls = []

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            calls.append((str(path.relative_to(PACKAGE)), frame.f_code.co_qualname))

    async def session():
        async with serve(Settings()) as url:
            job = arkbatch.load_job(tmp_path / "in.jsonl", model="m", base_url=url)
            sys.setprofile(note)
            try:
                return await arkbatch.arun(job, progress=False)
            finally:
                sys.setprofile(None)

    assert asyncio.run(session()).ending == "finished"
    return calls
