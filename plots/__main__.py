# SPDX-License-Identifier: BSD-3-Clause
"""The verbs of analysis: `attnbench report DIR`, or python -m plots report DIR."""
import argparse
import sys
from pathlib import Path

from .data import DataError, load

OK, FOUND, USAGE, ENVIRONMENT, REGRESSION = 0, 1, 2, 3, 4


def main(argv=None):
    args = _parse(argv)
    try:
        return args.act(args)
    except DataError as err:
        print(f"attnbench: {err}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        sys.stderr.close()  # else Python complains once more as it ends
        return OK
    except OSError as err:
        print(f"attnbench: {err.filename}: {err.strerror}.", file=sys.stderr)
        return ENVIRONMENT


def _parse(argv):
    parser = argparse.ArgumentParser(prog="attnbench", description=(
        "From the CSV of a run to fits, comparisons, figures and a report."))
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name, act, words, more=""):
        new = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:] + "." + more)
        new.set_defaults(act=act)
        return new

    one = verb("report", _report, "write figures, tables, fits and DIR/report.html, print the findings")
    _directory(one, out=True)
    _overlay(one)
    one.add_argument("--formats", metavar="F,F", type=_formats, default=(),
                     help="also write the figures for papers, as pdf, svg or png (as `attnbench figures` does)")
    one = verb("figures", _figures, "write the figures of a run as PDF, SVG and PNG")
    _directory(one, out=True)
    _overlay(one)
    one.add_argument("--lengths", metavar="N,N", type=_lengths, default=(),
                     help="lengths of error against time (default: a telling few)")
    one.add_argument("--only", metavar="NAME,NAME", type=_names, default=(),
                     help="only figures whose names begin so, for example time,roofline")
    one.add_argument("--formats", metavar="F,F", type=_formats, default=None,
                     help="of pdf, svg, png (default: all)")
    one.add_argument("--no-gnuplot", action="store_true", help="leave out those that gnuplot draws")
    one.add_argument("--flat", action="store_true",
                     help="those of the first input and shape and of the whole run, two columns wide, as DIR/NAME.svg")
    _directory(verb("peers", _peers, "write figures and tables of our variants beside other programs"), out=True)
    _directory(verb("findings", _findings, "print the most interesting findings of a run"))
    one = verb("fit", _fit, "exponents and crossovers with their intervals; writes fits.csv, slopes.csv, "
               "crossovers.csv", " What is printed holds within the lengths that were measured.")
    _directory(one, out=True)
    _format(one, ("text", "md", "csv", "tex"))
    one = verb("compare", _compare, "two runs, or two variants of one run: what is faster",
               " Variants of one run are compared round by round. Two runs were not interleaved: they are "
               "compared as two samples, and the answer says so.")
    one.add_argument("what", metavar="A B", nargs="+",
                     help="two directories of runs; or the directory of one and two variants in it")
    one.add_argument("--fail-on", choices=("slower",),
                     help="exit with 4 if anything is slower, or is no longer measured")
    one.add_argument("--force", action="store_true", help="compare runs of different machines or builds")
    _format(one, ("md", "text", "csv"))
    one = verb("lint", _lint, "is a table of results plausible?", " Exits with 1 if something is not.")
    one.add_argument("file", metavar="FILE", help="summary.csv, the directory of a run, or any CSV file")
    one.add_argument("--map", metavar="ROLE=COLUMN,...",
                     help="which column is what, for files of other programs: variant, n, time, rate, memory, "
                          "error, std, low, high, status, gflops, parts, average, time_crossover, memory_crossover")
    one.add_argument("--baseline", metavar="NAME", default="", help="variant that crossovers are against")
    one.add_argument("--peak", metavar="GFLOPS", type=float, help="what the machine can do, in GFLOP/s")
    one.add_argument("--skip", metavar="CHECK,...", type=_names, default=(), help="checks to leave out")
    return parser.parse_args(argv)


def _directory(verb, out=False):
    verb.add_argument("dir", metavar="DIR", help="directory of a run, with summary.csv")
    if out:
        verb.add_argument("--out", metavar="DIR", help="where to write (default: DIR)")


def _overlay(verb):
    verb.add_argument("--overlay", action="store_true",
                      help="set published exponents, order and crossovers beside those measured")


def _format(verb, choices):
    verb.add_argument("--format", choices=choices, default=choices[0], help=f"default: {choices[0]}")


def _lengths(text):
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list like 512,4096") from None


def _names(text):
    return tuple(word for word in text.split(",") if word)


def _formats(text):
    words = _names(text)
    if not words or set(words) - {"pdf", "svg", "png"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of pdf, svg and png")
    return words


def _report(args):
    from .report import report
    made = report(load(args.dir), Path(args.out or args.dir), args.formats, args.overlay)
    print(made.findings + "\n")
    for path, words in made.paths:
        print(f"{path}  {words}")
    return OK


def _figures(args):
    from . import figures, gp
    from .derive import Analysis
    run = load(args.dir)
    analysis, folder = Analysis(run), Path(args.out or args.dir) / "figures"
    formats = args.formats or figures.FORMATS
    wanted = figures.plan(analysis, args.lengths, args.overlay)
    wanted = [f for f in wanted if not args.only or f.name.startswith(args.only)]
    if args.flat:
        paths = figures.write_flat(analysis, Path(args.out or args.dir), wanted, formats)
    else:
        paths = figures.write(analysis, folder, figures.sheets(wanted), formats)
    if not args.no_gnuplot and not args.only and not args.flat:
        paths += gp.write(run, folder, formats)
    for path in paths:
        print(path)
    for line in figures.skipped(run) if not args.only else ():
        print(f"attnbench: {line}", file=sys.stderr)
    return OK


def _peers(args):
    from .peers import write
    paths, words = write(load(args.dir), Path(args.out or args.dir))
    print(words + "\n")
    for path in paths:
        print(path)
    return OK


def _findings(args):
    from .derive import Analysis
    from .findings import as_text, findings
    print(as_text(findings(Analysis(load(args.dir)))))
    return OK


def _fit(args):
    from . import derive, tables
    analysis = derive.Analysis(load(args.dir))
    paths = derive.write(analysis, args.out or args.dir)
    for _, table in tables.of_run(analysis):
        if table.name != "results":
            head = {"text": table.caption + "\n\n", "md": table.caption + "\n\n"}.get(args.format, "")
            print(head + tables.render(table, args.format))
    for path in paths:
        print(f"attnbench: wrote {path}", file=sys.stderr)
    return OK


def _compare(args):
    from . import compare
    if len(args.what) == 2:
        made = compare.runs(load(args.what[0]), load(args.what[1]), args.force)
    elif len(args.what) == 3:
        made = compare.variants(load(args.what[0]), *args.what[1:])
    else:
        raise DataError(f"compare takes two runs, or a run and two of its variants, not {len(args.what)} words.")
    print(compare.text(made, args.format), end="")
    return REGRESSION if args.fail_on and made.regressed else OK


def _lint(args):
    from . import foreign, lint
    unknown = set(args.skip) - set(lint.CHECKS)
    if unknown:
        raise DataError(f"--skip {unknown.pop()}: no such check; there are {', '.join(lint.CHECKS)}.")
    path = Path(args.file)
    path = path / "summary.csv" if path.is_dir() else path
    table = foreign.read(path, foreign.parse_mapping(args.map) if args.map else None, args.baseline)
    found = lint.lint(table, args.peak, args.skip)
    print(lint.as_text(found, path), end="")
    return FOUND if found else OK


if __name__ == "__main__":
    sys.exit(main())
