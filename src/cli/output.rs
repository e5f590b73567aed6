//! Text for people: tables and documents. Whatever stood in an answer, a terminal is never steered
//! by it: control characters and invisible marks of direction are replaced.

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// The headings of a table, left to right.
pub type Columns<'a> = &'a [&'a str];

/// What stands for an absent value.
const ABSENT: &str = "-";
const GAP: &str = "  ";

/// `rows` under their `columns`, aligned by the width that a terminal gives each character. A cell
/// that a row lacks is shown as absent.
pub fn table(columns: Columns<'_>, rows: &[Vec<String>]) -> String {
    let headings = columns.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = std::iter::once(&headings)
        .chain(rows)
        .map(|row| (0..columns.len()).map(|i| shown(row.get(i))).collect())
        .collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| lines.iter().filter_map(|line| line.get(i)).map(|c| c.width()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut gap = 0;
        for (cell, width) in line.iter().zip(&widths) {
            // Blanks stand before a cell, not after it, so that no line ends in them.
            text.extend(std::iter::repeat_n(' ', gap));
            text.push_str(cell);
            gap = width.saturating_sub(cell.width()) + GAP.len();
        }
        text.push('\n');
    }
    text
}

fn shown(cell: Option<&String>) -> String {
    match cell {
        Some(text) if !text.is_empty() => plain(text),
        Some(_) | None => ABSENT.to_owned(),
    }
}

/// `value` as indented lines of `name  value`, for one thing looked at closely.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) => {
            let flat = members.iter().filter(|(_, value)| is_flat(value));
            let width = flat.map(|(name, _)| plain(name).width()).max().unwrap_or(0);
            for (name, value) in members {
                let name = plain(name);
                indent(text, depth);
                text.push_str(&name);
                if is_flat(value) {
                    text.extend(std::iter::repeat_n(' ', width.saturating_sub(name.width())));
                    text.push_str(GAP);
                    text.push_str(&shown(Some(&cell(value))));
                    text.push('\n');
                } else {
                    text.push('\n');
                    write_value(text, value, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                write_value(text, item, depth);
                if !is_flat(item) {
                    text.push('\n');
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            indent(text, depth);
            text.push_str(&shown(Some(&cell(value))));
            text.push('\n');
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n(GAP, depth));
}

/// Whether a value fits on the line of its name.
fn is_flat(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// A value as one cell: texts as they are, lists with blanks between, an object as its JSON.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// `text` on one line, without what steers a terminal or turns the reading direction around.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{FFFD}' } else { c }).collect()
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [row(&["photos", "Photos"]), row(&["a-longer-client", ""]), row(&["x"])];
        let expected = "client_id        name\n\
                        photos           Photos\n\
                        a-longer-client  -\n\
                        x                -\n";
        assert_eq!(table(&["client_id", "name"], &rows), expected);
    }

    #[test]
    fn wide_and_combining_characters_are_aligned_as_a_terminal_shows_them() {
        let rows = [row(&["写真", "1"]), row(&["e\u{301}te\u{301}", "2"]), row(&["Ж", "3"])];
        let expected = "name  n\n写真  1\ne\u{301}te\u{301}   2\nЖ     3\n";
        assert_eq!(table(&["name", "n"], &rows), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(table(&["id", "at"], &[]), "id  at\n");
        assert_eq!(table(&[], &[]), "\n");
    }

    #[test]
    fn nothing_in_an_answer_steers_the_terminal() {
        let rows = [row(&["\u{1b}[2Jgone", "a\nb"]), row(&["abc\u{202e}fed", "\u{9b}1m"])];
        let text = table(&["a", "b"], &rows);
        assert!(!text.contains(|c: char| c != '\n' && steers(c)), "{text:?}");
        assert_eq!(text.lines().count(), 3);
        let text = document(&json!({"k\u{7}": "v\u{1b}]0;x\u{7}"}));
        assert_eq!(text, "k\u{FFFD}  v\u{FFFD}]0;x\u{FFFD}\n");
    }

    #[test]
    fn a_document_shows_flat_members_on_a_line_and_the_others_below() {
        let value = json!({
            "grant_id": "g_1", "scope": null, "resource": ["https://a", "https://b"],
            "as_of": {"seq": 7},
            "tokens": [{"kind": "access"}, {"kind": "refresh"}],
        });
        let expected = "as_of\n  seq  7\ngrant_id  g_1\nresource  https://a https://b\n\
                        scope     -\ntokens\n  kind  access\n\n  kind  refresh\n\n";
        assert_eq!(document(&value), expected);
        assert_eq!(document(&json!({})), "");
        assert_eq!(document(&json!([])), "");
    }
}
