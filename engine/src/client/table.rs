//! Tables for people, which fit the terminal, and comma-separated values for programs.

use crate::terminal;
use kernel::health::{is_unprintable, printable};
use unicode_width::UnicodeWidthChar;

/// What is kept of a cell before it is fitted, in bytes.
const CELL_MAX: usize = 4096;

/// Blanks between two columns.
const GAP: usize = 2;

/// How a column is fitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableColumn {
    title: &'static str,
    is_number: bool,
    /// It is not made narrower than this while anything else helps.
    least: usize,
    /// What goes first where there is no room; 0 stays.
    rank: u8,
}

impl TableColumn {
    /// A text of which `least` letters should be seen.
    pub(crate) const fn text(title: &'static str, least: usize) -> Self {
        TableColumn { title, is_number: false, least, rank: 0 }
    }

    /// Numbers, which are not cut.
    pub(crate) const fn number(title: &'static str) -> Self {
        TableColumn { title, is_number: true, least: usize::MAX, rank: 0 }
    }

    /// Left out where there is no room, and the higher the rank the sooner.
    #[must_use]
    pub(crate) const fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }
}

/// Rows under titles, fitted to the terminal. What a terminal would obey is escaped.
pub(crate) fn table(columns: &[TableColumn], rows: &[Vec<String>]) -> String {
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    titled(columns, &titles, rows)
}

/// The same with titles of its own.
pub(crate) fn titled(columns: &[TableColumn], titles: &[String], rows: &[Vec<String>]) -> String {
    fitted(columns, titles, rows, terminal::table_width(), terminal::output_has_colour())
}

fn fitted(
    columns: &[TableColumn],
    titles: &[String],
    rows: &[Vec<String>],
    width: usize,
    is_coloured: bool,
) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|it| printable(it, CELL_MAX)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&titles.to_vec()).chain(rows).map(shown).collect();
    let widest =
        |index: usize| rows.iter().map(|row| width_of(&row[index])).max().unwrap_or_default();
    let natural: Vec<usize> = (0..columns.len()).map(widest).collect();
    let least: Vec<usize> = columns.iter().zip(&natural).map(|(it, n)| it.least.min(*n)).collect();
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    while width < total(kept.iter().map(|it| least[*it])) {
        let last = kept.iter().copied().filter(|it| 0 < columns[*it].rank);
        let Some(last) = last.max_by_key(|it| columns[*it].rank) else { break };
        kept.retain(|it| *it != last);
    }
    let mut widths: Vec<usize> = kept.iter().map(|it| natural[*it]).collect();
    let bounds: Vec<usize> = kept.iter().map(|it| least[*it]).collect();
    shrink(&mut widths, &bounds, width);
    shrink(&mut widths, &vec![1; kept.len()], width);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = kept.iter().zip(&widths).map(|(column, width)| {
            let cell = cut(&row[*column], *width);
            let blanks = " ".repeat(width - width_of(&cell));
            if columns[*column].is_number { blanks + &cell } else { cell + &blanks }
        });
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let line = line.trim_end();
        match index == 0 && is_coloured {
            true => text.push_str(&format!("\x1b[1m{line}\x1b[0m\n")),
            false => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths.fold(0, |total, it| total + it + GAP).saturating_sub(GAP)
}

/// Takes from the widest columns until all of them fit, or none may be narrower.
fn shrink(widths: &mut [usize], bounds: &[usize], width: usize) {
    while width < total(widths.iter().copied()) {
        let may = (0..widths.len()).filter(|it| bounds[*it] < widths[*it]);
        let Some(widest) = may.max_by_key(|it| (widths[*it], *it)) else { return };
        widths[widest] -= 1;
    }
}

/// A text that is at most `width` columns wide; what is cut ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut room = width.saturating_sub(1);
    for letter in text.chars() {
        match room.checked_sub(columns_of(letter)) {
            Some(left) => room = left,
            None => break,
        }
        kept.push(letter);
    }
    kept.push('…');
    kept
}

fn width_of(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// How many columns a terminal gives to a letter.
fn columns_of(letter: char) -> usize {
    letter.width().unwrap_or_default()
}

/// One row of comma-separated values (RFC 4180). What a terminal would obey is escaped, but for the
/// lines of a text: a file is shown on a terminal too.
pub(crate) fn csv_row(cells: &[String]) -> String {
    let cells = cells.iter().map(|cell| csv_cell(cell));
    cells.collect::<Vec<_>>().join(",") + "\n"
}

fn csv_cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_unprintable(letter) && !matches!(letter, '\n' | '\t') {
            true => escaped.extend(letter.escape_unicode()),
            false => escaped.push(letter),
        }
    }
    let text = escaped;
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [TableColumn; 3] = [
        TableColumn::text("TYPE", 4),
        TableColumn::number("COUNT"),
        TableColumn::text("SUBJECT", 5).rank(1),
    ];

    fn shown(width: usize, rows: &[[&str; 3]]) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|it| (*it).to_owned()).collect()).collect();
        let titles = COLUMNS.map(|column| column.title.to_owned());
        fitted(&COLUMNS, &titles, &rows, width, false)
    }

    #[test]
    fn a_table_fits_its_width() {
        let rows = [["ring", "7", "the front door of the house"], ["a-long-word", "1200", ""]];
        assert_eq!(
            shown(60, &rows),
            "TYPE         COUNT  SUBJECT\nring             7  the front door of the house\n\
             a-long-word   1200\n"
        );
        assert_eq!(
            shown(30, &rows),
            "TYPE         COUNT  SUBJECT\nring             7  the front…\na-long-word   1200\n"
        );
        assert_eq!(shown(16, &rows), "TYPE       COUNT\nring           7\na-long-w…   1200\n");
        for width in 1..60 {
            let text = shown(width.max(4), &rows);
            let widest = text.lines().map(width_of).max().unwrap_or_default();
            assert!(widest <= width.max(4), "{width}: {text}");
        }
    }

    #[test]
    fn no_cell_leaves_its_line_or_commands_the_terminal() {
        let rows = [["a\nb\u{1b}[2Jc", "1", "日本語\u{202e}"]];
        let expected = "TYPE            COUNT  SUBJECT\na; b\\u{1b}[2Jc      1  日本語\\u{202e}\n";
        assert_eq!(shown(60, &rows), expected);
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn values_of_a_row_are_quoted_where_they_must_be() {
        let cells = ["a", "b,c", "d\"e", "f\ng", ""].map(str::to_owned);
        let row: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
        assert_eq!(row.join(","), "a,\"b,c\",\"d\"\"e\",\"f\ng\",");
        assert_eq!(csv_cell("\u{1b}[2J\ta\rb"), "\\u{1b}[2J\ta\\u{d}b");
    }
}
