# SPDX-License-Identifier: BSD-3-Clause
"""From the CSV of a run to figures, findings and a report.

Reads summary.csv, raw.csv and run.json of a run directory and nothing else.
"""
