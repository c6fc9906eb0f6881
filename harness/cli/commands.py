"""The subcommands: what each does, what it takes, and its page of help.

What a subcommand imports is imported when it runs, so that the others start fast.
"""

from __future__ import annotations

from harness.cli.arguments import Command, Subcommand
from harness.errors import ExitCode

_COMPOSING = ("--config-dir", "--config-name")
"""The flags of what composes settings."""
_RUNNING = ("--multirun", "--out", *_COMPOSING)
_SHOWING = ("--cfg", "--resolve", "--package", "--info")


def _run(command: Command) -> ExitCode:
    from harness.cli.run import run

    return run(command)


def _check(command: Command) -> ExitCode:
    from harness.cli.check import check

    return check(command)


def _compare(command: Command) -> ExitCode:
    from harness.cli.compare import compare

    return compare(command)


def _doctor(command: Command) -> ExitCode:
    from harness.cli import signals
    from harness.cli.console import ERR, OUT
    from harness.cli.progress import ConsoleProgress
    from harness.doctor.diagnose import doctor

    # Its child processes must be ended, too.
    signals.raise_instead()
    screen = ConsoleProgress(ERR)
    return doctor(command.overrides, OUT, screen, as_json="--json" in command.flags)


def _attach(command: Command) -> ExitCode:
    from harness.cli.attach import attach

    return attach(command)


def _export(command: Command) -> ExitCode:
    from harness.cli.export import export

    return export(command)


def _gate(command: Command) -> ExitCode:
    from harness.cli.gate import gate

    return gate(command)


def _help(command: Command) -> ExitCode:
    from harness.cli.help import help_for

    return help_for(command, RUN, SUBCOMMANDS)


def _import(command: Command) -> ExitCode:
    from harness.cli.import_settings import import_settings

    return import_settings(command)


def _list(command: Command) -> ExitCode:
    from harness.cli.list import list_runs

    return list_runs(command)


def _merge(command: Command) -> ExitCode:
    from harness.cli.merge import merge

    return merge(command)


def _read(command: Command) -> ExitCode:
    from harness.cli.read import read

    return read(command)


def _rehearse(command: Command) -> ExitCode:
    from harness.cli.run import rehearse

    return rehearse(command)


def _report(command: Command) -> ExitCode:
    from harness.cli.report import report

    return report(command)


def _view(command: Command) -> ExitCode:
    from harness.cli.view import view

    return view(command)


RUN = Subcommand(
    run=_run,
    summary="run the workload under the profiler",
    usage=(
        "[settings] [flags]",
        "-m [settings] [flags]",
        "[settings] -- train.py ARGS",
    ),
    about="",
    programs=True,
    examples=(
        "profiler=level1 workload=mlp workload.batch=64",
        "device=cuda profiler=level2 profiler.schedule.active=5",
        "rehearse profiler=level2 rehearsal=older_cann",
        "-m profiler=level0,level1,level2",
        "device=npu profiler=level1 +sweep=aic_metrics",
        "profiler=level1 -- train.py --lr 1e-3",
        "workload=callable workload.target=my_module:factory",
        "--cfg job device=npu profiler=level1",
    ),
    flags=(*_RUNNING, *_SHOWING, "--shell-completion", "--hydra-help"),
)
"""What a command line without a subcommand does."""

SUBCOMMANDS: dict[str, Subcommand] = {
    "attach": Subcommand(
        run=_attach,
        summary="record a window in a live serving engine, and judge it",
        usage=(
            "attach URL --engine sglang [settings] [--captures DIR]",
            "attach URL --engine vllm --captures DIR [settings]",
        ),
        about=(
            "Asks a running server for a window of profiler.schedule.active steps, waits for its"
            " captures, and reads and checks them as a run of all ranks. The settings are those of"
            " export --form body: what the engine cannot do is refused, or left out with --partial."
            " Sends no traffic: the server must have requests to work on.\n\n"
            "Captures must be on a disk that this machine sees. sglang is told where, in the run"
            " folder or --captures; vLLM writes to its own torch_profiler_dir: --captures names"
            " it. Ctrl-C stops the window. Exits with 4 if the server cannot do it."
        ),
        examples=(
            "attach http://gpu7 --engine sglang device=cuda --partial",
            "attach http://gpu7 --engine vllm --captures traces --partial",
            "attach https://gpu7 --engine sglang --api-key-env KEY",
        ),
        flags=(
            "--engine",
            "--captures",
            "--limit",
            "--api-key-env",
            "--partial",
            "--out",
            *_COMPOSING,
        ),
        paths=True,
    ),
    "check": Subcommand(
        run=_check,
        summary="show the effective settings and what must arrive; run nothing",
        usage=("check [settings] [flags] [-- train.py ARGS]",),
        programs=True,
        about=(
            "Composes the settings and checks them, as a run would. Then shows for each job the"
            " settings as you requested them and as the profiler gets them, the steps, and what"
            " must arrive. Touches no device and writes no file."
        ),
        examples=(
            "check device=npu profiler=level1",
            "check -m profiler=level0,level1",
        ),
        flags=_RUNNING,
    ),
    "compare": Subcommand(
        run=_compare,
        summary="compare runs: is a step slower, and what made it so",
        usage=(
            "compare RUN ... --against BASE ... [settings] [--out DIR]",
            "compare RUN --against BASE --repeat N",
        ),
        about=(
            "Says what differs between the runs of two sides, whether a step of the candidate is"
            " slower, faster, or not different beyond compare.margin, and which operators and"
            " kernels the difference consists of. RUN and BASE are run folders, or folders with"
            " runs, as that of a sweep. Each run counts once: with one run on a side nothing can be"
            " tested, with five much can.\n\n"
            "--repeat runs both requests N times more, in turn, and compares these runs. A file is"
            " written with --out alone. The exit code is 0 whatever the answer; gate has limits."
        ),
        examples=(
            "compare outputs/new --against outputs/old",
            "compare outputs/new --against outputs/old --repeat 5",
            "compare new1 new2 --against old1 old2 compare.margin=0.05",
        ),
        flags=("--against", "--repeat", "--json", "--out", *_COMPOSING),
        paths=True,
    ),
    "doctor": Subcommand(
        run=_doctor,
        summary="check this machine: drivers, libraries, permissions, disk",
        usage=("doctor [device=cpu|cuda|npu] [--json]",),
        about=(
            "Checks whether this machine can run the harness on one device, or on any, and says"
            " what to do about each obstacle. Exits with 4 if something is missing for the named"
            " device; without a name, for the CPU."
        ),
        examples=("doctor", "doctor device=cuda", "doctor device=npu --json"),
        flags=("--json",),
    ),
    "export": Subcommand(
        run=_export,
        summary="write settings as a serving engine or a framework takes them",
        usage=("export TARGET[@VERSION] [settings] [--form NAME] [--partial]",),
        about=(
            "Prints the settings of device, profiler and name in the words of TARGET: sglang, vllm,"
            " vllm-ascend, verl, dynamic_profile (torch_npu's profiler of running programs), or"
            " python (torch or torch_npu alone). The text goes to stdout; what it is, and what it"
            " needs, to stderr. --out names the folder where the target is to write.\n\n"
            "An export is whole or refused: a setting that the target has no word for, ignores, or"
            " sets to something else in any case is named, and the exit code is 2. With --partial"
            " the rest is exported, and the exit code is 3."
        ),
        examples=(
            "export sglang device=npu profiler.schedule.warmup=0",
            "export vllm device=cuda profiler=level1 --form body",
            "export dynamic_profile profiler=level1 > config.json",
        ),
        flags=("--form", "--partial", "--out", *_COMPOSING),
        paths=True,
    ),
    "gate": Subcommand(
        run=_gate,
        summary="hold runs against limits, and against other runs: for CI",
        usage=(
            "gate RUN ... --against BASE ... [--limits FILE]",
            "gate RUN ... --limits FILE",
        ),
        about=(
            "Holds counts, shapes, dtypes and peak memory against limits, which are exact, and then"
            " the time of a step, with its confidence. Limits are a YAML file; without one, counts,"
            " shapes and dtypes must equal those of the base, memory may grow by 1 %, and a step"
            " may be slower by 3 %, with 95 % confidence.\n\n"
            "Exits with 5 if a limit is broken or cannot be checked, and names the operators and"
            " kernels that broke it; with 0 if all hold. A time that the runs cannot decide is"
            " shown, and fails only with undecided: fail."
        ),
        examples=(
            "gate outputs/new --against outputs/main",
            "gate new --against main --limits gate.yaml --junit gate.xml",
            "gate outputs/latest --limits gate.yaml --markdown summary.md",
        ),
        flags=("--against", "--limits", "--junit", "--markdown", "--json-file", "--json"),
        paths=True,
    ),
    "help": Subcommand(
        run=_help,
        summary="show this page, or the page of a subcommand",
        usage=("help [SUBCOMMAND]",),
        about="Shows the main page, or the page of a subcommand.",
        examples=("help", "help read"),
        flags=_COMPOSING,
        paths=True,
    ),
    "import": Subcommand(
        run=_import,
        summary="read an engine's or a framework's settings: what they are here",
        usage=("import FILE [device=cpu|cuda|npu] [--target NAME]",),
        about=(
            "Prints the settings that FILE asks for, to be used on the command line. FILE is what"
            " export writes, or the configuration of torchtitan, Megatron-LM, accelerate,"
            " Lightning, torchtune or MindFormers; no program in it is run. Fields that no setting"
            " means are named, and the exit code is 3."
        ),
        examples=(
            "import profiler_config.json",
            "import start_profile.json device=npu",
            "import train.toml --target torchtitan",
        ),
        flags=("--target",),
        paths=True,
    ),
    "list": Subcommand(
        run=_list,
        summary="list the runs below a folder: how they ended, what a step took",
        usage=("list [FOLDER ...] [FILTERS] [--json]",),
        about=(
            "Lists the runs below outputs/, or below the folders that are named, the newest last."
            " A filter is a setting and its value, or one of status, verdict, exit_code, device,"
            " emulated, host; all filters must fit. --json prints all that is known of each run."
        ),
        examples=(
            "list",
            "list device=npu verdict=not_delivered",
            "list outputs/sweeps profiler=level1 workload.batch=64 --json",
        ),
        flags=("--json",),
        paths=True,
    ),
    "merge": Subcommand(
        run=_merge,
        summary="join runs that measured different counters into one table",
        usage=(
            "merge SWEEP_DIR [settings] [--out DIR]",
            "merge RUN RUN ... --out DIR [settings]",
        ),
        about=(
            "Joins the kernels of runs that recorded the same workload with different groups of"
            " counters. A sweep over counters is merged at its end; this merges it again, with"
            " other settings or after a job was repeated. Takes the settings merge.…,"
            " analysis.… and report.… alone. The tables of a sweep are written into its folder"
            " unless --out names another."
        ),
        examples=(
            "merge outputs/latest",
            "merge outputs/latest merge.match=strict",
            "merge outputs/a outputs/b --out outputs/merged",
        ),
        flags=("--out", *_COMPOSING),
        paths=True,
    ),
    "read": Subcommand(
        run=_read,
        summary="analyse and check an existing run, or import a capture",
        usage=(
            "read RUN [report.detail=full]",
            "read RUN [profiler.analyse_timeout_s=SECONDS]",
            "read CAPTURE [report.detail=full] [--out DIR]",
            "read FOLDER_OF_RANKS [--out DIR] [--merged-trace]",
            "read CAPTURE --requested FILE|SETTINGS [--target NAME]",
        ),
        about=(
            "RUN is the folder of a run: its raw data is analysed again, and its verdict is"
            " completed in place, as after profiler.analyse=later.\n\n"
            "CAPTURE is a capture of another program: an *_ascend_pt folder of torch_npu, or a"
            " Chrome trace of torch.profiler (.json or .json.gz). It is imported as a new run:"
            " with tables, a report, and a check of all that its metadata reports. The capture"
            " itself is not changed.\n\n"
            "FOLDER_OF_RANKS has captures of several ranks: each is imported, and they are"
            " compared: the slow rank, and who waits. --merged-trace writes all into one trace.\n\n"
            "--requested judges a capture by what an engine was asked for: a file that import"
            " reads, or settings. What the engine dropped or replaced is named, and the exit code"
            " is 3. --target says which engine it was."
        ),
        examples=(
            "read outputs/latest",
            "read host_1234_ascend_pt",
            "read trace.json.gz --out outputs/imported",
            "read captures --requested start_profile.json",
            "read captures --requested device=npu profiler=sglang",
        ),
        flags=("--out", "--merged-trace", "--requested", "--target"),
        paths=True,
    ),
    "rehearse": Subcommand(
        run=_rehearse,
        summary="run an NPU profile without an NPU, on an emulator of CANN",
        usage=("rehearse [settings] [flags] [-- train.py ARGS]", "rehearse -m [settings] [flags]"),
        programs=True,
        about=(
            "Runs the real torch_npu on the harness's emulator of CANN, and takes the same"
            " settings as a run with device=npu. It shows that a profile works and what it"
            " delivers. Times and counters are invented, and every output says so."
        ),
        examples=(
            "rehearse profiler=level1",
            "rehearse profiler=level2 rehearsal=older_cann",
            "rehearse +sweep=aic_metrics profiler=level1",
        ),
        flags=(*_RUNNING, *_SHOWING),
    ),
    "report": Subcommand(
        run=_report,
        summary="write report.html of a run or sweep again; --redact makes one for others",
        usage=("report RUN [--redact] [--out FILE]", "report SWEEP_DIR [--redact] [--out FILE]"),
        about=(
            "Writes report.html again, from what is in the folder of a run, of a job of several"
            " ranks, of a sweep, or of merged runs. It is one file that needs nothing else, and"
            " any browser opens it offline. With --redact, the host, the user, paths, source"
            " lines and the command are left out, and the file is report-redacted.html."
        ),
        examples=(
            "report outputs/latest",
            "report outputs/latest --redact --out for-others.html",
        ),
        flags=("--redact", "--out"),
        paths=True,
    ),
    "view": Subcommand(
        run=_view,
        summary="show a run in the Perfetto UI, on this machine and offline",
        usage=(
            "view PATH [--steps 2-4] [--port NUMBER] [--no-browser]",
            "view PATH --trace-only [--steps 2-4] [--out FILE]",
        ),
        about=(
            "Makes one trace of all cycles and ranks that a viewer draws in full:"
            " events that overlap on one thread get lanes, times are exact. Then serves the"
            " Perfetto UI and this trace on 127.0.0.1, and opens your browser. Ctrl-C ends it."
            " Nothing is sent to the network. Needs the extra `view`:"
            " pip install 'harness[view]'.\n\n"
            "PATH is a run folder, a Chrome trace of any program (.json or .json.gz), or a"
            " folder of torch_npu. --trace-only writes the trace and serves nothing; the trace of a"
            " run is in its folder, view/trace.json.gz, unless --out names another file."
        ),
        examples=(
            "view outputs/latest",
            "view outputs/latest --steps 2-4",
            "view trace.json.gz --port 9001 --no-browser",
            "view outputs/latest --trace-only --out steps.json.gz",
        ),
        flags=("--steps", "--port", "--no-browser", "--trace-only", "--out"),
        paths=True,
    ),
}
"""Every subcommand; a new one is a function and an entry here."""
