# SPDX-License-Identifier: BSD-3-Clause
"""python -m plots VERB DIR: see usage()."""
import argparse
import sys
from pathlib import Path

from .data import DataError, load


def main(argv=None):
    args = _parse(argv)
    try:
        return args.act(args)
    except DataError as err:
        print(f"attnbench: {err}", file=sys.stderr)
        return 2
    except OSError as err:
        print(f"attnbench: {err.filename}: {err.strerror}.", file=sys.stderr)
        return 3


def _parse(argv):
    parser = argparse.ArgumentParser(prog="python -m plots", description=(
        "From the CSV of a run to figures, findings and a report."))
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, act, words in (
            ("report", _report, "write figures and DIR/report.html, print the findings"),
            ("figures", _figures, "write figures as PDF, SVG and PNG"),
            ("findings", _findings, "print the three most interesting findings"),
            ("peers", _peers, "write figures and tables of our variants beside other programs")):
        verb = verbs.add_parser(name, help=words, description=words + ".")
        verb.add_argument("dir", metavar="DIR", help="directory of a run, with summary.csv")
        if name != "findings":
            verb.add_argument("--out", metavar="DIR", help="where to write (default: DIR)")
        if name == "figures":
            verb.add_argument("--lengths", metavar="N,N", type=_lengths, default=(),
                              help="lengths of error against time (default: a telling few)")
        verb.set_defaults(act=act)
    return parser.parse_args(argv)


def _lengths(text):
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list like 512,4096") from None


def _report(args):
    from .report import report
    run = load(args.dir)
    made = report(run, Path(args.out or args.dir))
    print(made.findings + "\n")
    for path, words in made.paths:
        print(f"{path}  {words}")
    return 0


def _figures(args):
    from . import figures, gp
    run = load(args.dir)
    folder = Path(args.out or args.dir) / "figures"
    paths = figures.write(run, folder, figures.plan(run, args.lengths)) + gp.write(run, folder)
    for path in paths:
        print(path)
    return 0


def _peers(args):
    from .peers import write
    paths, words = write(load(args.dir), Path(args.out or args.dir))
    print(words + "\n")
    for path in paths:
        print(path)
    return 0


def _findings(args):
    from .findings import as_text, findings
    print(as_text(findings(load(args.dir))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
