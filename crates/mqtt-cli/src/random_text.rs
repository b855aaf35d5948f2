//! [`text`]: random files for the fuzz targets of what reads files: words that mean something there, and anything.

#[derive(Debug, bolero::TypeGenerator)]
pub(crate) enum Piece {
    Word(u8),
    Text(String),
    Number(i64),
}

/// The pieces, one behind the other; each word is one of these.
pub(crate) fn text(pieces: &[Piece], words: &[&str]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Word(index) => words[usize::from(*index) % words.len()].to_owned(),
        Piece::Text(any) => any.clone(),
        Piece::Number(number) => number.to_string(),
    };
    pieces.iter().map(piece).collect()
}
