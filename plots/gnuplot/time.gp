# SPDX-License-Identifier: BSD-3-Clause
# Time of one forward pass against the sequence length; bars: 95 % interval.
note = "dotted: slopes 1, 1.5, 2"
load "style.gp"
set logscale x 2
set xlabel xname
set ylabel tname
set xrange [n0/1.1:n1*1.1]
set yrange [y0:y1]
set ytics @yticks
at(i) = (@keep && mine(i) && measured(0) ? column("n_k") : NaN)
anchor = sqrt(y0 * y1)  # of the reference slopes, at the left edge
plot for [s in "1 1.5 2"] anchor * (x / n0)**real(s) with lines lc rgb "#9a9da1" lw 0.8 dt 3 notitle, \
     for [i=1:words(variants)] csv using (at(i)):(t("time_median_ns")) \
         with linespoints lc rgb rgb(i) pt shape(i) lw 1.3 notitle, \
     for [i=1:words(variants)] csv using (at(i)):(t("time_median_ns")):(t("time_ci95_lo_ns")):(t("time_ci95_hi_ns")) \
         with yerrorbars lc rgb rgb(i) pt shape(i) lw 0.8 notitle
