//! One processor's `memcpy`: what moving bytes costs where nobody is asked and nobody answers.

use super::steady::{Contestant, Pace};
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

/// Copies a private buffer to another by the C library's `memcpy`, on the processor that this thread runs on:
/// nanoseconds a copy.
#[derive(Debug)]
pub struct Copying {
    from: Vec<u8>,
    to: Vec<u8>,
    pace: Pace,
}

impl Copying {
    /// Of so many bytes. Both buffers are touched here, so that no copy pays for fresh memory.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let buffer = |byte| {
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(bytes).map_err(|_| no_memory(bytes))?;
            buffer.resize(bytes, byte);
            Ok::<_, io::Error>(buffer)
        };
        Ok(Copying { from: buffer(7)?, to: buffer(8)?, pace: Pace::default() })
    }
}

impl Contestant for Copying {
    fn sample(&mut self, spell: Duration) -> io::Result<f64> {
        let copies = self.pace.count(spell);
        let mut began = Instant::now();
        for n in 0..=copies {
            if n == 1 {
                began = Instant::now(); // The first brings the buffers near.
            }
            black_box(&mut self.to).copy_from_slice(black_box(&self.from));
        }
        let nanos = began.elapsed().as_nanos() as f64 / copies as f64;
        self.pace.learn(nanos);
        Ok(nanos)
    }
}

fn no_memory(bytes: usize) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, format!("there is no memory for a buffer of {bytes} bytes"))
}
