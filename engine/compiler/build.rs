//! Takes the manual's pages of codes into the binary, for `engine explain`.

use std::fmt::Write;
use std::path::Path;

fn main() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/codes");
    println!("cargo::rerun-if-changed={}", pages.display());
    let entries = std::fs::read_dir(&pages).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let mut list = String::from("&[\n");
    for name in &names {
        let Some(code) = name.strip_suffix(".md").filter(|it| *it != "README") else { continue };
        let path = pages.join(name);
        writeln!(list, "    ({code:?}, include_str!({path:?})),")
            .expect("writing into a text does not fail");
    }
    list.push(']');
    let folder = std::env::var_os("OUT_DIR").expect("cargo says where");
    std::fs::write(Path::new(&folder).join("pages.rs"), list).expect("the folder can be written");
}
