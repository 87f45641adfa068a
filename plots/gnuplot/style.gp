# SPDX-License-Identifier: BSD-3-Clause
# Shared by the four figures. They read summary.csv as it is; what to draw comes
# in variables, which `python -m plots figures DIR` passes and one may set by hand:
#
#   csv       path of summary.csv
#   out       file to write;  term  a terminal, as in `set terminal`
#   heading   title;  facts, more  second and third line of it
#   keep      condition on a row, in gnuplot: strcol("input_kind") eq "gauss:sigma=1"
#   variants, params, names   the curves: words of the columns `variant` and
#             `params` ("-": none), and their names in the key
#   colours, shapes           a word a curve: "#0072b2", a point type
#   n0, n1    shortest and longest length;  length  (pareto) the length
#   xname, tname, tscale      names of the axes of length and time; ns of its unit, inverted
#   t0, t1    (pareto) shortest and longest time in that unit
#   y0, y1    limits of the values; broken: 1 if most lies above y0 and the exact
#             variants between z0 and z1, far below
#   yticks, zticks, tticks    ticks of these, as in `set ytics`: (1, "10" 10)
#   front     (pareto) numbers of the curves that no other beats in both
set terminal @term
set output out
set datafile separator comma
set datafile columnheaders
set datafile missing NaN
set encoding utf8
set border 3 lc rgb "#9a9da1" lw 0.7
set tics nomirror scale 0.5 textcolor rgb "#1b1b1c"
set grid lc rgb "#e4e5e7" lw 0.7 lt 1
unset key
set logscale xy
set pointsize 0.5
set bars 0.5
set lmargin at screen 0.105
set tmargin at screen 0.84
set rmargin at screen 0.79
top = sprintf("{/:Bold %s}\n{/*0.8 %s}\n{/*0.8 %s}", heading, facts, more)
set title top left offset graph -0.5 textcolor rgb "#1b1b1c"
mine(i) = strcol("variant") eq word(variants, i) \
          && strcol("params") eq (word(params, i) eq "-" ? "" : word(params, i))
measured(x) = strcol("status") eq "ok"
shape(i) = int(word(shapes, i))
rgb(i) = word(colours, i)
t(c) = column(c) * tscale
# The key, by hand: gnuplot's own drops or wraps what it thinks does not fit.
step = 0.7 / (words(variants) > 24 ? words(variants) : 24)
do for [i=1:words(variants)] {
	set label 100+i word(names, i) at screen 0.815, screen (0.83 - step * i) left offset 1, 0 noenhanced \
	    point pt shape(i) ps 0.6 lc rgb rgb(i) textcolor rgb "#1b1b1c"
}
set label 99 note at screen 0.808, screen 0.89 left noenhanced textcolor rgb "#5e6166" font ",7"
