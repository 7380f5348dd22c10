//! Patterns of names.

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
pub fn glob_fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut is_exact = true;
    let mut last = "";
    for part in parts {
        is_exact = false;
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    if is_exact { rest.is_empty() } else { last.is_empty() || text.ends_with(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_any_run() {
        assert!(glob_fits("FACE_*", "FACE_UNKNOWN"));
        assert!(glob_fits("*", ""));
        assert!(glob_fits("a*b*c", "a12b3c"));
        assert!(!glob_fits("a*b", "a1c"));
        assert!(!glob_fits("exact", "exactly"));
        assert!(!glob_fits("a*a", "a"));
    }
}
