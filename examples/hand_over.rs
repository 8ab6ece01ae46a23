//! Two applications hand blocks over in place: a camera makes its frames where a viewer looks at them, and not a byte
//! is copied in between.
//!
//! ```text
//! cargo run --release --example hand_over
//! ```

use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use std::process::{Command, ExitCode};
use std::time::Instant;

const FRAMES: u64 = 100;
/// A frame is a block: 640 × 480 pixels of 4 bytes, in whole pages.
const FRAME_BYTES: usize = 640 * 480 * 4;

/// The camera: draws each frame into the block that it will be seen in.
fn film(id: FileId) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = BlockFile::open(id)?.writer()?;
    for _ in 0..FRAMES {
        let mut space = writer.claim()?;
        let frame = space.offset() / FRAME_BYTES as u64;
        // SAFETY: both programs that have this file open are this one, and touch what they have claimed alone.
        let pixels = unsafe { space.as_mut_slice() };
        pixels.fill(frame as u8);
        pixels[..8].copy_from_slice(&frame.to_le_bytes());
        space.complete(FRAME_BYTES)?;
    }
    writer.finish()?;
    Ok(())
}

/// The viewer: looks at each frame where it is.
fn view(file: &BlockFile) -> Result<(), Box<dyn std::error::Error>> {
    let mut reader = file.reader()?;
    let (mut frames, begin) = (0_u64, Instant::now());
    while let Some(block) = reader.claim()? {
        // SAFETY: as in `film`.
        let pixels = unsafe { block.view().as_slice() };
        let (number, rest) = pixels.split_at(8);
        let is_whole = number == frames.to_le_bytes() && rest.iter().all(|byte| *byte == frames as u8);
        if !is_whole || block.offset() != frames * FRAME_BYTES as u64 {
            return Err("a frame is missing, or not whole".into());
        }
        frames += 1;
        block.complete()?;
    }
    if frames != FRAMES {
        return Err("the camera has failed".into());
    }
    let (bytes, seconds) = (frames * FRAME_BYTES as u64, begin.elapsed().as_secs_f64());
    println!("{frames} frames, all whole and in order: {bytes} bytes in {seconds:.3} s, without a copy");
    Ok(())
}

fn show() -> Result<(), Box<dyn std::error::Error>> {
    let id = FileId { session: std::process::id().into(), file: 1 };
    let file = BlockFileOptions::new().block_bytes(FRAME_BYTES).blocks(4).create(id, b"camera 1")?;
    let arguments = [id.session.to_string(), id.file.to_string()];
    let mut camera = Command::new(std::env::current_exe()?).arg("film").args(arguments).spawn()?;
    // Cancelled, it ends for the camera too, and nothing keeps the file.
    let viewed = view(&file).inspect_err(|_| drop(file.cancel("the viewer has failed")));
    camera.wait()?;
    viewed
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "film", session, file] => film(FileId { session: session.parse()?, file: file.parse()? }),
        [_] => show(),
        _ => Err("usage: hand_over".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hand_over: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
