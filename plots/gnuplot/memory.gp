# SPDX-License-Identifier: BSD-3-Clause
# Exact peak of the workspace against the sequence length; dashes: growth of the
# process where it is four times its resolution or more, with that as bars.
note = "dotted: slopes 1, 1.5, 2"
load "style.gp"
set logscale x 2
set logscale y 2
set xlabel xname
set ylabel "peak workspace beside Q, K, V, O [bytes]"
set xrange [n0/1.1:n1*1.1]
set yrange [y0:y1]
set ytics @yticks
at(i) = (@keep && mine(i) && measured(0) ? column("n_k") : NaN)
clear(i) = (column("rss_delta_bytes") >= 4 * column("rss_resolution_bytes") ? at(i) : NaN)
anchor = sqrt(y0 * y1)  # of the reference slopes, at the left edge
plot for [s in "1 1.5 2"] anchor * (x / n0)**real(s) with lines lc rgb "#9a9da1" lw 0.8 dt 3 notitle, \
     for [i=1:words(variants)] csv using (at(i)):(column("ws_tracked_bytes")) \
         with linespoints lc rgb rgb(i) pt shape(i) lw 1.3 notitle, \
     for [i=1:words(variants)] csv using (clear(i)):(column("rss_delta_bytes")):(column("rss_resolution_bytes")) \
         with yerrorbars lc rgb rgb(i) pt 1 ps 0.4 lw 0.8 notitle
