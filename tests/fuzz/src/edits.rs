//! What makes an input: a text that is right with a few edits, or bytes as they are.

/// The first byte says which of `right` is edited by the rest, three bytes an edit; from 128 on the rest
/// stands for itself.
pub(crate) fn input(data: &[u8], right: &[Vec<u8>]) -> Vec<u8> {
    match data.split_first() {
        Some((first, rest)) if *first < 128 && !right.is_empty() => {
            edited(&right[usize::from(*first) % right.len()], rest)
        }
        Some((_, rest)) => rest.to_vec(),
        None => Vec::new(),
    }
}

/// As [`input`], as text.
pub(crate) fn text(data: &[u8], right: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&input(data, right)).into_owned()
}

/// Pieces that a cunning writer would put in.
const PIECES: [&str; 16] = [
    "\n",
    "\n\n",
    " ",
    "+",
    "0",
    "=",
    "/",
    "x",
    "\r",
    "\0",
    "\u{2014} ",
    "\u{a0}",
    ".p/",
    "-",
    ".",
    "%",
];

fn edited(right: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = right.to_vec();
    for edit in edits.chunks_exact(3).take(8) {
        let [how, at, what] = [edit[0], edit[1], edit[2]];
        // Every place of a text of up to 1024 bytes can be named.
        let place = (usize::from(at) | (usize::from(how) >> 4) << 8) % (bytes.len() + 1);
        match how & 7 {
            0 | 1 => bytes.get_mut(place).into_iter().for_each(|byte| *byte = what),
            2 => bytes.insert(place, what),
            3 => drop(bytes.splice(place..place, PIECES[usize::from(what) % 16].bytes())),
            4 => drop(bytes.splice(place..bytes.len().min(place + 1 + usize::from(what % 64)), [])),
            5 => {
                let from = place.saturating_sub(usize::from(what));
                let part = bytes[from..place].to_vec();
                bytes.splice(place..place, part);
            }
            6 => bytes.truncate(place),
            _ => bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << (what % 8)),
        }
    }
    bytes
}
