"""One job of a sweep on the node that Slurm has chosen: what its batch script runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from harness.capture.sweep_record import SweepRecord
from harness.cli import streams
from harness.cli.arguments import Command
from harness.cli.hydra_job import slurm_job
from harness.cli.hydra_main import hydra_for, refusals
from harness.configuration.overrides import opened, quoted
from harness.errors import ExitCode, HarnessError
from harness.execution.protocol import read_json
from harness.paths import SweepFolder
from harness.stopping import interrupt
from harness.sweep.slurm_record import SlurmRecord

_TASK = "SLURM_ARRAY_TASK_ID"


def main() -> None:
    """Run the job; the words are the sweep's folder and the number of the submission in it."""
    streams.keep_going()
    signal.signal(signal.SIGTERM, interrupt)
    folder, submission = Path(sys.argv[1]), int(sys.argv[2])
    try:
        code = _run(folder, submission, int(os.environ[_TASK]))
    except HarnessError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _run(folder: Path, submission: int, task: int) -> int:
    place = SweepFolder(folder)
    launched = read_json(place.slurm_record, SlurmRecord)
    number = launched.submissions[submission].jobs[task]
    job = read_json(place.record, SweepRecord).jobs[number]
    flags = {"--config-name": launched.config_name}
    if launched.config_dir:
        flags["--config-dir"] = launched.config_dir
    command = Command(flags=flags, overrides=())
    overrides = [
        *launched.overrides,
        *opened(job.overrides),
        f"hydra.run.dir={quoted(str(folder / job.folder))}",
        "hydra.mode=RUN",
    ]
    with refusals():
        code = hydra_for(command).run(command.config_name, slurm_job, overrides).return_value
    return int(ExitCode.FAILED if code is None else code)


if __name__ == "__main__":
    main()
