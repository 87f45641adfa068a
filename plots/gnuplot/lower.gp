# SPDX-License-Identifier: BSD-3-Clause
# The lower part of a broken value axis, for exact variants, and the break.
set yrange [z0:z1]
set ytics @zticks
set tmargin at screen 0.33
set bmargin at screen 0.13
set border 3
set format x "%g"
unset title
unset for [i=99:100+words(variants)] label i
unset ylabel
set label 1 "//" at graph 0, graph 1 center offset 0, 0.3 textcolor rgb "#9a9da1"
