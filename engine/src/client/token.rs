//! The token of a command, from where it is kept.

use kernel::regular_file;
use std::path::Path;

/// The largest file of a token.
const TOKEN_MAX: u64 = 64 << 10;

/// A token from `env:NAME` or `file:PATH`, so that none appears on a command line. The
/// parentheses of a pipeline file are read too.
pub(crate) fn token_at(place: &str) -> Result<String, String> {
    let token = match place.split_once([':', ')']) {
        Some(("env" | "(env" | "file" | "(file", "")) => {
            return Err(
                "--token names nothing; write `--token env:NAME` or `--token file:PATH`".to_owned()
            );
        }
        Some(("env" | "(env", name)) => {
            std::env::var(name).map_err(|_| format!("`{name}` is not set"))?
        }
        Some(("file" | "(file", path)) => regular_file::read(Path::new(path), TOKEN_MAX)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|fault| format!("cannot read {path}: {fault}"))?,
        // What was written may be the token itself, so it is not shown.
        _ => return Err("write `--token env:NAME` or `--token file:PATH`".to_owned()),
    };
    match token.trim() {
        "" => Err("the token is empty".to_owned()),
        token if token.chars().any(char::is_control) => {
            Err("the token has a line end or control character".to_owned())
        }
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_where_it_is_kept_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let at = |form: &str| token_at(&format!("{form}{}", path.display()));
        assert!(at("file:").unwrap_err().starts_with("cannot read "));
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(at("file:"), Ok("s3cret".to_owned()));
        assert_eq!(at("(file)"), Ok("s3cret".to_owned()));
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(at("file:"), Err("the token is empty".to_owned()));
        std::fs::write(&path, "s3\ncret").unwrap();
        assert!(!at("file:").unwrap_err().contains("cret\""));
        for empty in ["env:", "file:"] {
            assert!(token_at(empty).unwrap_err().starts_with("--token names nothing"));
        }
        assert_eq!(token_at("env:NO_SUCH"), Err("`NO_SUCH` is not set".to_owned()));
        for given in ["s3cret", "http://s3cret", ""] {
            let told = token_at(given).unwrap_err();
            assert!(!told.contains("s3cret") && told.contains("env:NAME"), "{told}");
        }
    }
}
