// SPDX-License-Identifier: BSD-3-Clause
//
// relu: softmax replaced by relu(s) / n, in Rust without any crate.
//
//     rustc --edition 2021 -O --crate-type cdylib -o relu.so relu.rs
//
// O_i = sum_j relu(scale q_i.k_j) v_j / n_k. Time n_q n_k (d + d_v), memory O(1).
// Wortsman, Lee, Gilmer, Kornblith 2023, arXiv 2309.08586. The structs follow attn.h.
#![allow(dead_code)]
use std::ffi::{c_char, c_void, CStr};
use std::ptr::null;
use std::slice::{from_raw_parts, from_raw_parts_mut};

#[repr(C)]
pub struct Shape { n_q: usize, n_k: usize, d: usize, d_v: usize, causal: bool, scale: f32, heads: usize, head: usize, kind: u32 }
#[repr(C)]
pub struct Plan { state: usize, shared: usize, scratch: usize, useful: f64, executed: f64, n_exp: f64, pairs: f64, bytes: f64 }
#[repr(C)]
pub struct Team { rank: usize, size: usize, barrier: *const c_void, owner: *mut c_void }
#[repr(C)]
pub struct Call {
    shape: *const Shape, arg: *const f64, kern: *const c_void, state: *const c_void,
    q: *const f32, k: *const f32, v: *const f32, out: *mut f32, lse: *mut f32,
    ldq: usize, ldk: usize, ldv: usize, ldo: usize,
    aux: *const c_void, shared: *mut c_void, scratch: *mut c_void, stats: *mut c_void,
}
#[repr(C)]
pub struct Definition {
    shape: *const Shape, arg: *const f64, state: *const c_void, q: *const f64, k: *const f64, v: *const f64,
    aux: *const c_void, rows: *const usize, n_rows: usize, out: *mut f64, alloc: *const c_void, owner: *mut c_void,
}
#[repr(C)]
pub struct Variant {
    abi: u32, names: [*const c_char; 8], flags: u32, impl_bound: f32, limit: *const c_char,
    cases: *const c_void, params: *const c_void, refine: *const c_void, resolve: *const c_void,
    plan: extern "C" fn(&Shape, *const f64, usize, &mut Plan) -> *const c_char,
    prepare: *const c_void, forward: extern "C" fn(&Call, &Team), backward: *const c_void,
    decode: *const c_void, oracle: extern "C" fn(&Definition),
}
unsafe impl Sync for Variant {}
#[repr(transparent)]
pub struct Entry(*const Variant);
unsafe impl Sync for Entry {}

fn visible(s: &Shape, i: usize) -> usize {
    if s.causal { (i + 1 + s.n_k).saturating_sub(s.n_q).min(s.n_k) } else { s.n_k }
}

extern "C" fn plan(s: &Shape, _arg: *const f64, _ranks: usize, p: &mut Plan) -> *const c_char {
    p.pairs = (0..s.n_q).map(|i| visible(s, i) as f64).sum();
    p.useful = 2.0 * p.pairs * (s.d + s.d_v) as f64;
    p.executed = p.useful;
    p.bytes = 4.0 * (s.n_q + s.n_k) as f64 * (s.d + s.d_v) as f64;
    null()
}

extern "C" fn forward(c: &Call, team: &Team) {
    let s = unsafe { &*c.shape };
    for i in (team.rank..s.n_q).step_by(team.size) {
        let q = unsafe { from_raw_parts(c.q.add(i * c.ldq), s.d) };
        let out = unsafe { from_raw_parts_mut(c.out.add(i * c.ldo), s.d_v) };
        out.fill(0.0);
        for j in 0..visible(s, i) {
            let k = unsafe { from_raw_parts(c.k.add(j * c.ldk), s.d) };
            let v = unsafe { from_raw_parts(c.v.add(j * c.ldv), s.d_v) };
            let dot: f32 = q.iter().zip(k).map(|(a, b)| a * b).sum();
            let weight = (s.scale * dot).max(0.0) / s.n_k as f32;
            out.iter_mut().zip(v).for_each(|(o, x)| *o += weight * x);
        }
    }
}

extern "C" fn definition(c: &Definition) {
    let s = unsafe { &*c.shape };
    for (r, &i) in unsafe { from_raw_parts(c.rows, c.n_rows) }.iter().enumerate() {
        for x in 0..s.d_v {
            let term = |j: usize| unsafe {
                let dot: f64 = (0..s.d).map(|e| *c.q.add(i * s.d + e) * *c.k.add(j * s.d + e)).sum();
                (s.scale as f64 * dot).max(0.0) * *c.v.add(j * s.d_v + x)
            };
            unsafe { *c.out.add(r * s.d_v + x) = (0..visible(s, i)).map(term).sum::<f64>() / s.n_k as f64 };
        }
    }
}

const fn text(s: &'static CStr) -> *const c_char { s.as_ptr() }
static RELU: Variant = Variant {
    abi: 3, // then: name, family, title, paper, formula, complexity, target, summary
    names: [text(c"relu"), text(c"other"), text(c"relu attention"), text(c"Wortsman et al. 2023, arXiv 2309.08586"),
        text(c"O_i = sum relu(scale q.k) v_j / n"), text(c"n^2 d"), text(c"its own weights"),
        text(c"Rows of weights do not add up to 1.")],
    // causal, bidirectional, cross, parallel, nonneg, qperm, kperm, logits: enum attn_flags
    flags: 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 16,
    impl_bound: 5e-6, limit: null(), cases: null(), params: null(), refine: null(), resolve: null(), plan,
    prepare: null(), forward, backward: null(), decode: null(), oracle: definition,
};
#[no_mangle]
pub static attn_plugin: [Entry; 2] = [Entry(&RELU), Entry(null())];
