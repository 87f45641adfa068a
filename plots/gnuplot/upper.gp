# SPDX-License-Identifier: BSD-3-Clause
# The upper part of a broken value axis, or all of one that is not broken.
set yrange [y0:y1]
set ytics @yticks
set bmargin at screen (broken ? 0.36 : 0.13)
if (broken) {
	set border 2
	set format x ""
}
