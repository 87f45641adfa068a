# SPDX-License-Identifier: BSD-3-Clause
# Error against time at one length; rings: the front of what no other variant
# beats in both; bars: 95 % interval of the time.
note = "rings: the front\ndotted: zero output"
load "style.gp"
set xtics @tticks
set format x "%g"
set xrange [t0:t1]
at(i) = (@keep && mine(i) && measured(0) && column("n_k") == length ? t("time_median_ns") : NaN)
set multiplot
load "upper.gp"
set ylabel "relative error, ‖X − Y‖ / ‖Y‖ [1]"
if (!broken) set xlabel tname
plot 1 with lines lc rgb "#5e6166" lw 1 dt 3 notitle, \
     for [i=1:words(variants)] csv using (at(i)):(column("err_exact_rel_fro")):(t("time_ci95_lo_ns")):(t("time_ci95_hi_ns")) \
         with xerrorbars lc rgb rgb(i) pt shape(i) ps 0.7 lw 0.9 notitle, \
     for [k=1:words(front)] csv using (at(int(word(front, k)))):(column("err_exact_rel_fro")) \
         with points lc rgb "#1b1b1c" pt 6 ps 1.3 lw 1 notitle
if (broken) {
	load "lower.gp"
	set xlabel tname
	plot for [i=1:words(variants)] csv using (at(i)):(column("err_exact_rel_fro")):(t("time_ci95_lo_ns")):(t("time_ci95_hi_ns")) \
	         with xerrorbars lc rgb rgb(i) pt shape(i) ps 0.7 lw 0.9 notitle, \
	     for [k=1:words(front)] csv using (at(int(word(front, k)))):(column("err_exact_rel_fro")) \
	         with points lc rgb "#1b1b1c" pt 6 ps 1.3 lw 1 notitle
}
unset multiplot
