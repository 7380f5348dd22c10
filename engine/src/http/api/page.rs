//! The page: three files that are part of the program. They hold no data; whoever opens them needs
//! a token to see any, where the file asks for one.

use super::Answer;
use crate::http::app::App;
use tide::{Request, Response};

/// A file of the page.
pub(super) struct PageFile {
    /// Where it is.
    pub(super) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// All of them.
pub(super) const FILES: [PageFile; 3] = [
    PageFile {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../../../ui/index.html"),
    },
    PageFile {
        path: "/api/page/app.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../../ui/app.js"),
    },
    PageFile {
        path: "/api/page/style.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../../../ui/style.css"),
    },
];

/// Whether a path is a file of the page.
pub(in crate::http) fn is_file(path: &str) -> bool {
    FILES.iter().any(|it| it.path == path)
}

/// A file of the page.
pub(super) async fn file(request: Request<App>) -> Answer {
    let file = FILES.iter().find(|it| it.path == request.url().path());
    let file = file.expect("the router knows the files");
    Ok(Response::builder(200).content_type(file.content_type).body(file.text).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most bytes of all files together, so that the page is there at once.
    const BYTES_MAX: usize = 64 << 10;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        assert!(FILES.iter().map(|it| it.text.len()).sum::<usize>() < BYTES_MAX);
        for file in FILES {
            let others = file.text.match_indices("//").map(|it| &file.text[it.0..]);
            let addresses = others.filter(|it| it.starts_with("//www.w3.org/2000/svg"));
            assert_eq!(file.text.matches("http").count(), addresses.count(), "{}", file.path);
            for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "style=\""]
            {
                assert!(!file.text.contains(unsafe_way), "{}: {unsafe_way}", file.path);
            }
        }
    }

    #[test]
    fn the_page_loads_the_files_that_there_are() {
        for file in &FILES[1..] {
            assert!(FILES[0].text.contains(&format!("\"{}\"", file.path)), "{}", file.path);
        }
    }
}
