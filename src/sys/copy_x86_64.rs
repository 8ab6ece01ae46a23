//! The copies of `copy.rs` for x86-64, by the instructions that every such processor has.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::copy::{Target, copy};
use std::arch::asm;

/// Below this, `memcpy` is as good.
const SHORTEST: usize = 1024;
/// A line of the cache.
const LINE: usize = 64;

/// Copies `len` bytes out of shared memory that the other end has written.
///
/// # Safety
/// As [`copy`]; and the bytes at `from` are writable, and nobody else's as long as this takes.
#[inline]
pub(crate) unsafe fn take(to: *mut u8, from: *mut u8, len: usize, target: Target) {
    if len < SHORTEST {
        // SAFETY: the caller's word.
        return unsafe { copy(to, from, len) };
    }
    match target {
        // SAFETY: the caller's word.
        Target::Cache => unsafe { take_lines(to, from, len) },
        // SAFETY: the caller's word.
        Target::Memory => unsafe { take_past_cache(to, from, len) },
    }
}

/// # Safety
/// As [`take`].
unsafe fn take_lines(to: *mut u8, from: *mut u8, len: usize) {
    let lines = len / LINE;
    let done = lines * LINE;
    // SAFETY: `lines` lines, of which there is at least one, are within `len`; what is written to `from` was just read
    // there, and by the caller's word nobody has changed it in between. Each register that changes is named.
    unsafe {
        asm!(
            "2:",
            "movups {a}, xmmword ptr [{from}]",
            "movups {b}, xmmword ptr [{from} + 16]",
            "movups {c}, xmmword ptr [{from} + 32]",
            "movups {d}, xmmword ptr [{from} + 48]",
            "movups xmmword ptr [{from}], {a}",
            "movups xmmword ptr [{to}], {a}",
            "movups xmmword ptr [{to} + 16], {b}",
            "movups xmmword ptr [{to} + 32], {c}",
            "movups xmmword ptr [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {lines}",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            lines = inout(reg) lines => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
    // SAFETY: what is left of both.
    unsafe { copy(to.wrapping_add(done), from.wrapping_add(done), len - done) };
}

/// # Safety
/// As [`take`].
unsafe fn take_past_cache(to: *mut u8, from: *mut u8, len: usize) {
    // Such stores have to begin at a multiple of their length.
    let before = to.align_offset(16).min(len);
    // SAFETY: within `len`.
    unsafe { copy(to, from, before) };
    let (to, from, len) = (to.wrapping_add(before), from.wrapping_add(before), len - before);
    let lines = len / LINE;
    let done = lines * LINE;
    if lines > 0 {
        // SAFETY: as in `take_lines`; `to` is at a multiple of 16. The fence orders these stores, which are not
        // ordered by themselves, before whatever this thread does next.
        unsafe {
            asm!(
                "2:",
                "movups {a}, xmmword ptr [{from}]",
                "movups {b}, xmmword ptr [{from} + 16]",
                "movups {c}, xmmword ptr [{from} + 32]",
                "movups {d}, xmmword ptr [{from} + 48]",
                "movups xmmword ptr [{from}], {a}",
                "movntps xmmword ptr [{to}], {a}",
                "movntps xmmword ptr [{to} + 16], {b}",
                "movntps xmmword ptr [{to} + 32], {c}",
                "movntps xmmword ptr [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {lines}",
                "jnz 2b",
                "sfence",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                lines = inout(reg) lines => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
    // SAFETY: what is left of both.
    unsafe { copy(to.wrapping_add(done), from.wrapping_add(done), len - done) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around the edges, at every place within a line: what was asked for is copied, and nothing beside.
    #[test]
    fn every_byte_is_copied_and_none_beside() {
        let source: Vec<u8> = (0..8192u32).map(|n| (n * 31 % 251) as u8).collect();
        for target in [Target::Cache, Target::Memory] {
            for len in [0, 1, 63, 64, 65, 1023, 1024, 1025, 1087, 1088, 4095, 4096, 4133] {
                for (from_at, to_at) in [(0, 0), (1, 0), (0, 1), (15, 16), (16, 15), (63, 33), (64, 64)] {
                    let mut from = source.clone();
                    let mut to = vec![0xA5; 8192];
                    // SAFETY: both buffers are longer than any offset and length together.
                    unsafe { take(to[to_at..].as_mut_ptr(), from[from_at..].as_mut_ptr(), len, target) };
                    assert_eq!(from, source, "{target:?}: the source changed");
                    assert_eq!(
                        to[to_at..to_at + len],
                        source[from_at..from_at + len],
                        "{target:?} {len} {from_at} {to_at}"
                    );
                    let beside = to[..to_at].iter().chain(&to[to_at + len..]);
                    assert!(
                        beside.copied().all(|byte| byte == 0xA5),
                        "{target:?} {len} {from_at} {to_at}: wrote beside"
                    );
                }
            }
        }
    }
}
