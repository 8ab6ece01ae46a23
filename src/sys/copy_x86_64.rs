//! The copies of `copy.rs` for x86-64.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::copy::{Target, copy};
use std::arch::asm;

/// Below this, `memcpy` is as good.
const SHORTEST: usize = 1024;
/// A line of the cache.
const LINE: usize = 64;
/// What one store past the cache writes.
const WIDE: usize = 32;

/// Copies `len` bytes out of shared memory that the other end has written.
///
/// # Safety
/// As [`copy`]; and the bytes at `from` are writable, and nobody else's as long as this takes.
#[inline]
pub(crate) unsafe fn take(to: *mut u8, from: *mut u8, len: usize, target: Target) {
    let by: CopyLines = match (is_x86_feature_detected!("avx"), target) {
        (false, _) => take_lines,
        (true, Target::Cache) => take_lines_by_avx,
        (true, Target::Memory) => take_past_cache,
    };
    // SAFETY: the caller's word; and the processor has what it needs.
    unsafe { take_by(by, to, from, len) };
}

/// Copies `len` bytes out of shared memory, and leaves that as it is: several may read it.
///
/// # Safety
/// As [`copy`].
#[inline]
pub(crate) unsafe fn read(to: *mut u8, from: *const u8, len: usize, target: Target) {
    if target == Target::Memory && is_x86_feature_detected!("avx") {
        // SAFETY: the caller's word, and nothing is written to `from`; the processor has what it needs.
        unsafe { take_by(read_past_cache, to, from.cast_mut(), len) };
    } else {
        // SAFETY: the caller's word.
        unsafe { copy(to, from, len) };
    }
}

/// Copies whole lines: to the first, from the second, so many.
///
/// # Safety
/// As [`take_lines`], and whatever more the one that is chosen asks for.
type CopyLines = unsafe fn(*mut u8, *mut u8, usize);

/// # Safety
/// As [`take`]; and the processor has what `by` needs.
#[inline]
unsafe fn take_by(by: CopyLines, to: *mut u8, from: *mut u8, len: usize) {
    if len < SHORTEST {
        // SAFETY: the caller's word.
        return unsafe { copy(to, from, len) };
    }
    // Stores past the cache have to begin at a multiple of their length; for the others it is as good.
    let before = to.align_offset(WIDE);
    let lines = (len - before) / LINE;
    let behind = before + lines * LINE;
    // SAFETY: `before` is less than WIDE, and so than `len`.
    unsafe { copy(to, from, before) };
    // SAFETY: `lines` lines, of which there is at least one, are within `len`, and their place is at a multiple of WIDE.
    unsafe { by(to.wrapping_add(before), from.wrapping_add(before), lines) };
    // SAFETY: what is left of both.
    unsafe { copy(to.wrapping_add(behind), from.wrapping_add(behind), len - behind) };
}

/// A loop that does the same for each line, from `rsi` to `rdi`, and then something once.
macro_rules! for_each_line {
    (($to:ident, $from:ident, $lines:ident), $($each:literal,)* $(; $($once:literal,)*)?) => {
        asm!(
            "2:",
            $($each,)*
            "add rsi, 64",
            "add rdi, 64",
            "dec rcx",
            "jnz 2b",
            $($($once,)*)?
            inout("rsi") $from => _,
            inout("rdi") $to => _,
            inout("rcx") $lines => _,
            clobber_abi("C"),
            options(nostack),
        )
    };
}

/// # Safety
/// `lines` lines may be copied as [`take`] copies bytes; there is at least one.
unsafe fn take_lines(to: *mut u8, from: *mut u8, lines: usize) {
    // SAFETY: what is written to `from` was just read there, and by the caller's word nobody has changed it in between.
    // Each register that changes is named, or is not kept by any C function.
    unsafe {
        for_each_line!(
            (to, from, lines),
            "movups xmm0, xmmword ptr [rsi]",
            "movups xmm1, xmmword ptr [rsi + 16]",
            "movups xmm2, xmmword ptr [rsi + 32]",
            "movups xmm3, xmmword ptr [rsi + 48]",
            "movups xmmword ptr [rsi], xmm0",
            "movups xmmword ptr [rdi], xmm0",
            "movups xmmword ptr [rdi + 16], xmm1",
            "movups xmmword ptr [rdi + 32], xmm2",
            "movups xmmword ptr [rdi + 48], xmm3",
        );
    }
}

/// # Safety
/// As [`take_lines`]; the processor has AVX.
unsafe fn take_lines_by_avx(to: *mut u8, from: *mut u8, lines: usize) {
    // SAFETY: as in `take_lines`.
    unsafe {
        for_each_line!(
            (to, from, lines),
            "vmovups ymm0, ymmword ptr [rsi]",
            "vmovups ymm1, ymmword ptr [rsi + 32]",
            "vmovups xmmword ptr [rsi], xmm0",
            "vmovups ymmword ptr [rdi], ymm0",
            "vmovups ymmword ptr [rdi + 32], ymm1",
            ; "vzeroupper",
        );
    }
}

/// # Safety
/// As [`take_lines_by_avx`]; `to` is at a multiple of [`WIDE`].
unsafe fn take_past_cache(to: *mut u8, from: *mut u8, lines: usize) {
    // SAFETY: as in `take_lines`. The fence orders these stores, which are not ordered by themselves, before whatever
    // this thread does next.
    unsafe {
        for_each_line!(
            (to, from, lines),
            "vmovups ymm0, ymmword ptr [rsi]",
            "vmovups ymm1, ymmword ptr [rsi + 32]",
            "vmovups xmmword ptr [rsi], xmm0",
            "vmovntps ymmword ptr [rdi], ymm0",
            "vmovntps ymmword ptr [rdi + 32], ymm1",
            ; "sfence", "vzeroupper",
        );
    }
}

/// # Safety
/// `lines` lines may be copied as [`copy`] copies bytes; there is at least one. The processor has AVX; `to` is at a
/// multiple of [`WIDE`].
unsafe fn read_past_cache(to: *mut u8, from: *mut u8, lines: usize) {
    // SAFETY: nothing is written but `to`. The fence as in `take_past_cache`.
    unsafe {
        for_each_line!(
            (to, from, lines),
            "vmovups ymm0, ymmword ptr [rsi]",
            "vmovups ymm1, ymmword ptr [rsi + 32]",
            "vmovntps ymmword ptr [rdi], ymm0",
            "vmovntps ymmword ptr [rdi + 32], ymm1",
            ; "sfence", "vzeroupper",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around the edges, at every place within a line: what was asked for is copied, and nothing beside.
    #[test]
    fn every_byte_is_copied_and_none_beside() {
        let source: Vec<u8> = (0..8192u32).map(|n| (n * 31 % 251) as u8).collect();
        let all: [(&str, CopyLines); 4] = [
            ("sse2", take_lines),
            ("avx", take_lines_by_avx),
            ("past the cache", take_past_cache),
            ("past the cache, nothing back", read_past_cache),
        ];
        let has_avx = is_x86_feature_detected!("avx");
        for (name, by) in all.into_iter().filter(|(name, _)| has_avx || *name == "sse2") {
            for len in [0, 1, 63, 64, 65, 1023, 1024, 1025, 1087, 1088, 4095, 4096, 4133] {
                for (from_at, to_at) in [(0, 0), (1, 0), (0, 1), (15, 16), (16, 15), (63, 33), (64, 64)] {
                    let mut from = source.clone();
                    let mut to = vec![0xA5; 8192];
                    // SAFETY: both buffers are longer than any offset and length together.
                    unsafe { take_by(by, to[to_at..].as_mut_ptr(), from[from_at..].as_mut_ptr(), len) };
                    assert_eq!(from, source, "{name}: the source changed");
                    assert_eq!(
                        to[to_at..to_at + len],
                        source[from_at..from_at + len],
                        "{name} {len} {from_at} {to_at}"
                    );
                    let beside = to[..to_at].iter().chain(&to[to_at + len..]);
                    assert!(beside.copied().all(|byte| byte == 0xA5), "{name} {len} {from_at} {to_at}: wrote beside");
                }
            }
        }
    }
}
