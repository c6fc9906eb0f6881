"""Write docs/engine-tables.md from the tables of engines; --check only compares."""

from __future__ import annotations

from collections.abc import Iterator

from generated import write_or_check

from harness.configuration.composition import compose_jobs
from harness.engines import SOURCES, TARGETS
from harness.engines.base import Field, Form, Release, Target
from harness.engines.exporting import export
from harness.settings.request import Request
from harness.settings.schema import show

HEAD = """# Tables of engines

Made by `make docs` from the tables that `export` and `import` use. The first part says what an
export of each profile would lose, so that it is refused; the second, what each field means here.

Every export below is of a window without warm-up (`profiler.schedule.warmup=0`), since some targets
have none. *whole*: the export says all that the profile requests.
"""
PROFILES = ("sglang", "level1", "level2", "memory")


def request_of(device: str, profile: str) -> Request | None:
    """Return the request of a profile; None where the device does not have it."""
    words = (f"device={device}", f"profiler={profile}", "profiler.schedule.warmup=0")
    jobs = compose_jobs(words).jobs
    return jobs[0].request if jobs else None


def forms(release: Release, device: str) -> list[Form]:
    """Return the forms of a release for one device."""
    return [form for form in release.forms if form.device == device]


def lost(request: Request, target: Target, release: Release, form: Form) -> str:
    """Return what an export would lose, as a cell."""
    done = export(request, target, release, form, "captures")
    if not done.lost:
        return "whole"
    return ", ".join(f"`{problem.setting}={problem.given}`" for problem in done.lost)


def exports() -> Iterator[str]:
    """Yield the lines of the table of exports: the newest release of each target.

    Forms that lose the same share a line.
    """
    yield "## What an export loses\n"
    yield "| target | form | device | profile | refused, since the target would not do it |"
    yield "| --- | --- | --- | --- | --- |"
    for target in TARGETS.values():
        release = target.releases[0]
        for device in ("npu", "cuda"):
            for profile in PROFILES:
                request = request_of(device, profile)
                cells: dict[str, list[str]] = {}
                for form in forms(release, device) if request else ():
                    assert request is not None
                    cells.setdefault(lost(request, target, release, form), []).append(form.name)
                for cell, names in cells.items():
                    name = f"{target.name} {release.version}"
                    yield f"| {name} | {', '.join(names)} | {device} | {profile} | {cell} |"
    yield ""


def counterpart(field: Field) -> str:
    """Return what a field means here, as a cell."""
    if field.setting:
        ignored = f"; {field.ignored}" if field.ignored else ""
        return f"`{field.setting}`{ignored}"
    return (
        f"no counterpart: {field.about}" if field.about else "where or under which name it writes"
    )


def fields(target: Target) -> Iterator[str]:
    """Yield the lines of the fields of one target's newest release."""
    release = target.releases[0]
    title = f"{target.name} {release.version}"
    yield f"### {title}\n"
    yield f"Looked at: {release.source}.\n"
    seen: set[tuple[str, ...]] = set()
    for form in release.forms:
        # The roles of verl differ by a prefix alone.
        means = tuple(map(counterpart, form.fields))
        if means in seen:
            continue
        seen.add(means)
        yield f"*{form.name}* ({form.device}): {form.title}.\n"
        yield "| field | means |"
        yield "| --- | --- |"
        for field in form.fields:
            yield f"| `{field.name}` | {counterpart(field)} |"
        if form.fixed:
            fixed = ", ".join(f"`{name}={show(value)}`" for name, value in form.fixed.items())
            yield f"\nIn any case: {fixed}."
        yield ""
    older = [f"{each.since} to {each.version}" for each in target.releases[1:]]
    if older:
        yield f"Older releases with tables of their own: {'; '.join(older)}.\n"


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, *exports(), "## What each field means\n"]
    for target in [*TARGETS.values(), *SOURCES.values()]:
        lines += fields(target)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    write_or_check("engine-tables.md", page())
