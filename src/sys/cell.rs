//! A 64-bit atomic that can be the standard library's or a model's.
//!
//! Whatever hands over between processes is generic over it: so loom runs the code that is shipped.

use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicU64, fence};

/// A 64-bit atomic: the standard library's, or the model's.
pub(crate) trait Cell {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn swap(&self, value: u64, order: Ordering) -> u64;
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering, failed: Ordering) -> Result<u64, u64>;
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64;
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64;
    /// `fence(order)`, of the same kind as the atomic.
    fn fence(order: Ordering);
    /// `fence(order)`, right after a read-modify-write.
    #[inline]
    fn fence_after_change(order: Ordering) {
        Self::fence(order);
    }
    /// `store(value, Relaxed)`, then `fence(order)`.
    #[inline]
    fn store_and_fence(&self, value: u64, order: Ordering) {
        self.store(value, Relaxed);
        Self::fence(order);
    }
}

impl Cell for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }
    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
    #[inline]
    fn swap(&self, value: u64, order: Ordering) -> u64 {
        self.swap(value, order)
    }
    #[inline]
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering, failed: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, order, failed)
    }
    #[inline]
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_or(bits, order)
    }
    #[inline]
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_and(bits, order)
    }
    #[inline]
    fn fence(order: Ordering) {
        fence(order);
    }
    /// On x86 every read-modify-write is a full fence. The compiler's is still needed.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[inline]
    fn fence_after_change(order: Ordering) {
        std::sync::atomic::compiler_fence(order);
    }
    /// On x86 an exchange is a full fence, and 7 ns cheaper than a store and a fence. The compiler keeps later loads
    /// behind it, since it acquires.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[inline]
    fn store_and_fence(&self, value: u64, order: Ordering) {
        self.swap(value, order);
    }
}
