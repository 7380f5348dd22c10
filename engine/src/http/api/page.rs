//! The page: files that are part of the program. They hold no data; whoever opens them needs a
//! token to see any, where the file asks for one.

use super::{Answer, problem};
use crate::http::app::App;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use tide::{Request, Response};

/// Where all of them are but the first.
const FOLDER: &str = "/api/page/";

/// A file of the page.
struct PageFile {
    name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(PageFile { name: $name, text: include_str!(concat!("../../../ui/", $name)) }),*]
    };
}

/// All of them; the first one is the page itself.
const FILES: [PageFile; 16] = files![
    "index.html",
    "style.css",
    "app.js",
    "ask.js",
    "charts.js",
    "compare.js",
    "config.js",
    "dom.js",
    "event.js",
    "flow.js",
    "live.js",
    "notifications.js",
    "pauses.js",
    "problems.js",
    "storage.js",
    "words.js",
];

impl PageFile {
    fn at(path: &str) -> Option<&'static PageFile> {
        let name = if path == "/" { FILES[0].name } else { path.strip_prefix(FOLDER)? };
        FILES.iter().find(|file| file.name == name)
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|it| it.1) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        }
    }

    /// Changes when the text does, and with nothing else.
    fn tag(&self) -> String {
        let mut hasher = SipHasher24::new();
        hasher.write(self.text.as_bytes());
        format!("\"{:032x}\"", hasher.finish128().as_u128())
    }
}

/// Whether a path is a file of the page.
pub(in crate::http) fn is_file(path: &str) -> bool {
    PageFile::at(path).is_some()
}

/// A file of the page; nothing where the browser has it already.
pub(super) async fn file(request: Request<App>) -> Answer {
    let Some(file) = PageFile::at(request.url().path()) else {
        return Ok(problem(404, "the page has no such file"));
    };
    let tag = file.tag();
    let known = request.header("if-none-match").map(|header| header.as_str().to_owned());
    let is_known = known.is_some_and(|it| it.split(',').any(|part| part.trim() == tag));
    let answer = match is_known {
        true => Response::builder(304),
        false => Response::builder(200).body(file.text),
    };
    let answer = answer.content_type(file.content_type());
    Ok(answer.header("etag", tag).header("cache-control", "no-cache").build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// The most bytes of all files together, compressed, so that the page is there at once.
    const BYTES_MAX: usize = 64 << 10;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        let mut all = GzEncoder::new(Vec::new(), Compression::best());
        for file in FILES {
            all.write_all(file.text.as_bytes()).expect("it is written");
            let others = file.text.match_indices("//").map(|index| &file.text[index.0..]);
            let addresses = others.filter(|it| it.starts_with("//www.w3.org/2000/svg"));
            assert_eq!(file.text.matches("http").count(), addresses.count(), "{}", file.name);
            for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "style=\""]
            {
                assert!(!file.text.contains(unsafe_way), "{}: {unsafe_way}", file.name);
            }
        }
        let size = all.finish().expect("it ends").len();
        assert!(size < BYTES_MAX, "{size} bytes");
    }

    #[test]
    fn the_page_loads_the_files_that_there_are() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ui");
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let is_picture = name.ends_with(".png");
            assert!(
                is_picture || FILES.iter().any(|file| file.name == name),
                "{name} is not served"
            );
        }
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            for (_, after) in
                file.text.match_indices("from \"./").map(|index| file.text.split_at(index.0))
            {
                let name = after["from \"./".len()..].split('"').next().unwrap_or_default();
                assert!(FILES.iter().any(|file| file.name == name), "{} loads {name}", file.name);
            }
            let place = format!("\"{FOLDER}{}\"", file.name);
            assert!(FILES[0].text.contains(&place), "{} is not loaded at once", file.name);
        }
    }
}
