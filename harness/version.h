/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The version of attnbench, in one place. */
#ifndef HARNESS_VERSION_H
#define HARNESS_VERSION_H

#define ATTNBENCH_VERSION "0.1.0"
#define ATTNBENCH_IMPL "attnbench " ATTNBENCH_VERSION /* column impl */

#endif
