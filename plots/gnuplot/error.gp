# SPDX-License-Identifier: BSD-3-Clause
# Relative error against exact attention, against the sequence length. Zero
# output has error 1; the uniform average's error is err / sqrt(nmse_u) of any row.
note = "dashed: uniform average\ndotted: zero output"
load "style.gp"
set logscale x 2
set xrange [n0/1.1:n1*1.1]
at(i) = (@keep && mine(i) && measured(0) ? column("n_k") : NaN)
mean(x) = (@keep && measured(0) && column("err_exact_nmse_u") > 1e-6 ? column("n_k") : NaN)
set multiplot
load "upper.gp"
set ylabel "relative error, ‖X − Y‖ / ‖Y‖ [1]"
if (!broken) set xlabel xname
plot 1 with lines lc rgb "#5e6166" lw 1 dt 3 notitle, \
     csv using (mean(0)):(column("err_exact_rel_fro") / sqrt(column("err_exact_nmse_u"))) \
         smooth unique with lines lc rgb "#5e6166" lw 1 dt 2 notitle, \
     for [i=1:words(variants)] csv using (at(i)):(column("err_exact_rel_fro")) \
         with linespoints lc rgb rgb(i) pt shape(i) lw 1.3 notitle
if (broken) {
	load "lower.gp"
	set xlabel xname
	plot for [i=1:words(variants)] csv using (at(i)):(column("err_exact_rel_fro")) \
	    with linespoints lc rgb rgb(i) pt shape(i) lw 1.3 notitle
}
unset multiplot
