//! Reading a file that somebody names: never one that makes the reader wait.

use rustix::fs::OFlags;
use std::fs::{FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The bytes of a regular file of at most `size_max` bytes. A named pipe, a device, a socket or a
/// folder is an error at once, and so is a file that is larger.
pub fn read(path: &Path, size_max: u64) -> io::Result<Vec<u8>> {
    let bytes = read_start(path, size_max.saturating_add(1))?;
    if size_max < bytes.len() as u64 {
        let size = path.metadata().map_or(0, |metadata| metadata.len()).max(bytes.len() as u64);
        return Err(invalid(format!("it is {size} bytes long; the maximum is {size_max}")));
    }
    Ok(bytes)
}

/// The first bytes of a regular file, for a reader that says itself what is too large.
pub fn read_start(path: &Path, length_max: u64) -> io::Result<Vec<u8>> {
    // Opening a device can have an effect, and a socket cannot be opened at all.
    regular(path.metadata()?.file_type())?;
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // It may be another one by now.
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    let expected = metadata.len().min(length_max);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(length_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file is instead of a regular one, as an error.
fn regular(found: FileType) -> io::Result<()> {
    let is = match found {
        _ if found.is_file() => return Ok(()),
        _ if found.is_dir() => "a folder",
        _ if found.is_fifo() => "a named pipe",
        _ if found.is_socket() => "a socket",
        _ => "a device",
    };
    Err(invalid(format!("it is {is}, not a regular file")))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[track_caller]
    fn refused(path: &Path, reason: &str) {
        assert_eq!(read(path, 10).expect_err("it is refused").to_string(), reason);
    }

    #[test]
    fn only_a_regular_file_of_the_right_size_is_read() {
        let name = format!("regular-{}-{}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        refused(&folder, "it is a folder, not a regular file");
        refused(Path::new("/dev/zero"), "it is a device, not a regular file");
        let socket = folder.join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        refused(&socket, "it is a socket, not a regular file");
        drop(listener);
        let pipe = folder.join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
        refused(&pipe, "it is a named pipe, not a regular file");
        let large = folder.join("large");
        let file = std::fs::File::create(&large).expect("a file");
        file.set_len(1 << 40).expect("a size");
        refused(&large, "it is 1099511627776 bytes long; the maximum is 10");
        assert_eq!(read_start(&large, 3).expect("its start"), [0, 0, 0]);
        let small = folder.join("small");
        std::fs::write(&small, "0123456789").expect("it writes");
        assert_eq!(read(&small, 10).expect("it is read"), b"0123456789");
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}
