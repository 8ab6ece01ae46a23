//! Messages and replies that tell who sent them. Every byte follows from the channel, the number and the length, so
//! that whoever has the bytes can compare all of them.

/// A message or a reply that is this long tells its number.
pub const NAMED_FROM: usize = 24;

const MESSAGE: u64 = 0x6d65_7373_6167_6521;
const BLOCK: u64 = 0x626c_6f63_6b21_2121;
const REPLY: u64 = 0x7265_706c_7921_2121;

/// Spreads every bit over all of them.
pub const fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The incarnation that sent something, and which of its operations that was.
pub const fn id(incarnation: u32, number: u32) -> u64 {
    (incarnation as u64) << 32 | number as u64
}

fn word(key: u64, id: u64, about: u64, place: usize) -> u64 {
    match place {
        0 => id,
        1 => about,
        _ => mix(key ^ mix(place as u64)),
    }
}

fn key(kind: u64, channel: u32, id: u64, about: u64, len: usize) -> u64 {
    mix(kind ^ mix(u64::from(channel) ^ mix(id ^ mix(about ^ mix(len as u64)))))
}

fn make(kind: u64, channel: u32, id: u64, about: u64, len: usize) -> Vec<u8> {
    let key = key(kind, channel, id, about, len);
    let mut bytes = Vec::with_capacity(len + 8);
    if len < NAMED_FROM {
        bytes.extend((0..3).flat_map(|place| mix(key ^ place).to_le_bytes()));
    }
    let mut place = 0;
    while bytes.len() < len {
        bytes.extend_from_slice(&word(key, id, about, place).to_le_bytes());
        place += 1;
    }
    bytes.truncate(len);
    bytes
}

pub fn message(channel: u32, id: u64, len: usize) -> Vec<u8> {
    make(MESSAGE, channel, id, 0, len)
}

/// The reply to the message that `about` tells of: its number, or its bytes where it is too short to have one.
pub fn reply(channel: u32, id: u64, about: u64, len: usize) -> Vec<u8> {
    make(REPLY, channel, id, about, len)
}

/// The first eight bytes as a number: what is known of something too short to tell its number.
pub fn first_bytes(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(first)
}

/// What names it to whoever gets it: its number, or its first bytes.
pub fn name_of_message(channel: u32, id: u64, len: usize) -> u64 {
    if len >= NAMED_FROM { id } else { first_bytes(&message(channel, id, len)) }
}

fn read(kind: u64, channel: u32, bytes: &[u8]) -> Result<(u64, u64), String> {
    if bytes.len() < NAMED_FROM {
        return Ok((first_bytes(bytes), 0));
    }
    let (id, about) = (first_bytes(bytes), first_bytes(&bytes[8..]));
    let key = key(kind, channel, id, about, bytes.len());
    for (place, piece) in bytes.chunks(8).enumerate() {
        if piece != &word(key, id, about, place).to_le_bytes()[..piece.len()] {
            let len = bytes.len();
            return Err(format!("byte {} or so of {len}, said to be {}.{}", place * 8, id >> 32, id & 0xffff_ffff));
        }
    }
    Ok((id, about))
}

/// What names the message, once every byte is compared. An error where it is none, or not as it was sent.
pub fn read_message(channel: u32, bytes: &[u8]) -> Result<u64, String> {
    let (id, about) = read(MESSAGE, channel, bytes)?;
    if about == 0 || bytes.len() < NAMED_FROM { Ok(id) } else { Err(format!("a message about {about}")) }
}

/// The number of a reply, and what names the message that it answers.
pub fn read_reply(channel: u32, bytes: &[u8]) -> Result<(u64, u64), String> {
    read(REPLY, channel, bytes)
}

/// What is filled into a block whose bytes belong to `offset`.
pub fn block(file: u32, id: u64, offset: u64, len: usize) -> Vec<u8> {
    make(BLOCK, file, id, offset, len)
}

/// Who filled a block that is said to belong to `offset`, once every byte is compared.
pub fn read_block(file: u32, offset: u64, bytes: &[u8]) -> Result<u64, String> {
    match read(BLOCK, file, bytes)? {
        _ if bytes.len() < NAMED_FROM => Err(format!("{} bytes, which nobody fills", bytes.len())),
        (id, about) if about == offset => Ok(id),
        (id, about) => Err(format!("filled for {about:#x} by {}.{}", id >> 32, id & 0xffff_ffff)),
    }
}

#[test]
fn every_altered_byte_of_a_named_message_is_seen() {
    for len in [NAMED_FROM, 112, 113, 1021] {
        let good = message(3, id(4, 5), len);
        assert_eq!(read_message(3, &good), Ok(id(4, 5)));
        assert!(read_message(2, &good).is_err(), "of another channel");
        assert!(read_message(3, &reply(3, id(4, 5), 0, len)).is_err(), "a reply");
        for at in 0..len {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(read_message(3, &bad).is_err(), "byte {at} of {len}");
        }
        assert!(len == NAMED_FROM || read_message(3, &good[..len - 1]).is_err(), "a shorter one");
    }
}
