"""`lab2mqtt doctor`: looks at everything that a bridge needs, and says in one sentence each what to do."""

from __future__ import annotations

import argparse

from bridge.cli import configuration
from bridge.cli.stop import seconds

WAIT = 20.0  # seconds for one device

_EPILOG = """\
examples:
  lab2mqtt doctor -c lab2mqtt.toml                    everything
  lab2mqtt doctor -c lab2mqtt.toml --device io        of the devices only this one
  lab2mqtt doctor -c lab2mqtt.toml --json | jq '.[] | select(.verdict == "fault")'

It may run beside the daemon: it has a client id of its own, commands nothing, retains nothing, and leaves alone
the devices that the daemon has. Run it as the daemon's user, so that it sees what the daemon sees. Every finding
has an id; docs/doctor.md lists them.

exit codes: 0 nothing to do, 20 warnings, 30 faults, 64 wrong use, 78 the configuration cannot be used
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="look at everything and say what is wrong and what to do",
        description="Checks the configuration, this machine, the broker and every device.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configuration.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON list of findings")
    parser.add_argument(
        "--device", action="append", metavar="NAME", help="of the devices only this one; may be repeated"
    )
    parser.add_argument("--wait", type=seconds, default=WAIT, metavar="SECONDS", help="for each device (20)")
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _run(options: argparse.Namespace) -> int:
    import asyncio
    from collections.abc import Callable

    from bridge import log
    from bridge.cli.doctor import printing
    from bridge.cli.doctor.examination import Examination
    from bridge.cli.doctor.findings import Finding, exit_code
    from bridge.settings import ConfigurationError

    def show(finding: Finding) -> None:
        print(*printing.lines(finding), sep="\n", flush=True)

    def nothing(finding: Finding) -> None:
        pass

    tell: Callable[[Finding], None] = nothing if options.json else show
    log.configure("error", "console")  # what matters becomes a finding
    found: list[Finding] = []
    try:
        settings = configuration.read(options)
    except ConfigurationError as error:
        for line in error.lines:
            found.append(Finding("configuration.invalid", "configuration", f"{line}: correct it"))
            tell(found[-1])
    else:
        unknown = [name for name in options.device or () if name not in settings.devices]
        if unknown:
            known = ", ".join(settings.devices) or "none"
            options.wrong_use(f"the configuration has no device {', '.join(unknown)} (it has: {known})")
        examination = Examination(settings, options.config, options.device, options.wait, tell)
        found = asyncio.run(examination.run())
    print(printing.as_json(found) if options.json else printing.summary(found))
    return exit_code(found)
