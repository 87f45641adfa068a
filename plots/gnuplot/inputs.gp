# SPDX-License-Identifier: BSD-3-Clause
# A column of summary.csv against a parameter of the input: one curve a variant.
#
#   gnuplot -e "csv='results/recall/summary.csv'; param='pairs'; y='task_accuracy'; out='recall.svg'" plots/gnuplot/inputs.gp
#
#   csv, out   files
#   param      name of a parameter in input_kind, as in mqar:pairs=64
#   y          column
#   where      condition on a row, in gnuplot: strcol("d_head") eq "64" (all rows)
#   logx, logy 1: logarithmic axis (0)
#   xlabel, ylabel, heading   texts
#   low, high  limits of y (0, 1.02)
if (!exists("where")) where = "1"
if (!exists("logx")) logx = 0
if (!exists("logy")) logy = 0
if (!exists("xlabel")) xlabel = param
if (!exists("ylabel")) ylabel = y
if (!exists("heading")) heading = ""
if (!exists("low")) low = 0
if (!exists("high")) high = 1.02
set terminal svg size 760,470 font "DejaVu Sans,10" background "white"
set output out
set datafile separator comma
set datafile columnheaders
set datafile missing NaN
set encoding utf8
set border 3 lc rgb "#9a9da1" lw 0.7
set tics nomirror scale 0.5 textcolor rgb "#1b1b1c"
set grid lc rgb "#e4e5e7" lw 0.7 lt 1
set key outside right top Left reverse noenhanced font ",9" spacing 1.1
set title heading left offset graph 0 noenhanced
set xlabel xlabel
set ylabel ylabel noenhanced
if (logx) set logscale x 2
if (logy) set logscale y; set format y "10^{%L}"
if (!logy) set format y "%g"
set yrange [low:high]

# Variants with what is said of their parameters, in the order of the file.
list = system("awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } index($at[\"input_kind\"], \":".param."=\") { k = $at[\"variant\"] \"|\" $at[\"params\"]; if (!seen[k]++) print k }' '".csv."'")
variant(i) = substr(word(list, i), 1, strstrt(word(list, i), "|") - 1)
params(i) = substr(word(list, i), strstrt(word(list, i), "|") + 1, strlen(word(list, i)))
# The first parameter tells variants of one name apart well enough.
first(p) = strstrt(p, ":") ? substr(p, 1, strstrt(p, ":") - 1) : p
again(i) = sum [j = 1:words(list)] (variant(j) eq variant(i) ? 1 : 0)
name(i) = variant(i).(again(i) > 1 && strlen(params(i)) ? " ".first(params(i)) : "")
place(s) = real(substr(s, strstrt(s, ":".param."=") + strlen(param) + 2, strlen(s)))
wanted(i) = strcol("variant") eq variant(i) && strcol("params") eq params(i) && strcol("status") eq "ok" \
            && strstrt(strcol("input_kind"), ":".param."=") > 0 && (@where)
colour(i) = word("#000000 #0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #7f7f7f", 1 + (i - 1) % 8)
shape(i) = int(word("7 5 9 13 11 15 4 6 8 12 10 1 2 3", 1 + (i - 1) % 14))
plot for [i = 1:words(list)] csv using (wanted(i) ? place(strcol("input_kind")) : NaN):(column(y)) \
    with linespoints lc rgb colour(i) dt (1 + (i - 1) / 8) pt shape(i) ps 0.6 lw 1.4 title name(i)
