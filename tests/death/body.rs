//! Messages that tell their number: whoever gets one knows which it was, and whether it is whole.

use crate::support::pattern;

const MARK: u64 = 0x00a1_1e57 << 32;
/// The reply to message `n` is body `n + REPLY`.
pub const REPLY: u64 = 1_000_000;
const BLOCK: usize = 4096;

/// The bytes of message `number`; at least 8.
pub fn body(number: u64, len: usize) -> Vec<u8> {
    let mut block = pattern(number, BLOCK);
    let mut bytes = Vec::with_capacity(len + BLOCK);
    let mut place = 0u64;
    while bytes.len() < len {
        block[8..16].copy_from_slice(&place.to_ne_bytes());
        bytes.extend_from_slice(&block);
        place += 1;
    }
    bytes.truncate(len);
    bytes[..8].copy_from_slice(&(MARK | number).to_ne_bytes());
    bytes
}

/// Which message these are the bytes of. An error where they are no message, or not the whole of it.
pub fn number_of(bytes: &[u8]) -> Result<u64, String> {
    let first = bytes.first_chunk::<8>().ok_or("too short")?;
    let first = u64::from_ne_bytes(*first);
    if first >> 32 != MARK >> 32 {
        return Err(format!("begins with {first:#x}, {} bytes", bytes.len()));
    }
    let number = first & 0xffff_ffff;
    match bytes == body(number, bytes.len()) {
        true => Ok(number),
        false => Err(format!("message {number} was altered")),
    }
}
