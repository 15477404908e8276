//! How a label selector is written: its pieces, and what they may follow.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec;

use probelet_model::label;

use super::{Operator, Requirement};

/// A piece of a selector, with its text.
type Token = (Piece, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// No operator begins like this.
    Error,
    End,
    Closed,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    GreaterThan,
    In,
    LessThan,
    NotEquals,
    NotIn,
    Open,
    Identifier,
}

const fn is_symbol(letter: char) -> bool {
    matches!(letter, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn symbol(text: &str) -> Option<Piece> {
    Some(match text {
        ")" => Piece::Closed,
        "," => Piece::Comma,
        "!" => Piece::Not,
        "==" => Piece::DoubleEquals,
        "=" => Piece::Equals,
        ">" => Piece::GreaterThan,
        "<" => Piece::LessThan,
        "!=" => Piece::NotEquals,
        "(" => Piece::Open,
        _ => return None,
    })
}

fn word(text: &str) -> Piece {
    match text {
        "in" => Piece::In,
        "notin" => Piece::NotIn,
        _ => Piece::Identifier,
    }
}

/// A selector in pieces.
///
/// Upstream: apimachinery pkg/labels/selector.go, Lexer.
/// Shown by: a_selector_is_written_as_it_is_read.
fn tokens(selector: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = selector;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            tokens.push((Piece::End, String::new()));
            return tokens;
        };
        let (piece, length) = if is_symbol(first) {
            let run = rest.find(|letter| !is_symbol(letter)).unwrap_or(rest.len());
            // Every symbol is a token of its own, so that the first letter is one at least.
            (1..=run.min(2))
                .rev()
                .find_map(|length| Some((symbol(&rest[..length])?, length)))
                .unwrap_or((Piece::Error, run))
        } else {
            let end = rest
                .find(|letter| is_symbol(letter) || matches!(letter, ' ' | '\t' | '\r' | '\n'))
                .unwrap_or(rest.len());
            (word(&rest[..end]), end)
        };
        tokens.push((piece, rest[..length].to_owned()));
        rest = &rest[length..];
    }
}

/// What the words `in` and `notin` are read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    KeyAndOperator,
    Values,
}

/// Reads the pieces of a selector.
///
/// Upstream: apimachinery pkg/labels/selector.go, Parser.
/// Shown by: what_cannot_be_selected_by_is_a_bad_request.
pub(super) struct Parser(Peekable<vec::IntoIter<Token>>);

impl Parser {
    pub(super) fn of(selector: &str) -> Self {
        Self(tokens(selector).into_iter().peekable())
    }

    pub(super) fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let (piece, text) = self.look(Context::Values);
            match piece {
                Piece::Identifier | Piece::Not => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                    match self.take(Context::Values) {
                        (Piece::End, _) => return Ok(requirements),
                        (Piece::Comma, _) => {
                            let (next, text) = self.look(Context::Values);
                            if !matches!(next, Piece::Identifier | Piece::Not) {
                                return Err(format!(
                                    "found '{text}', expected: identifier after ','"
                                ));
                            }
                        }
                        (_, text) => {
                            return Err(format!(
                                "found '{text}', expected: ',' or 'end of string'"
                            ));
                        }
                    }
                }
                Piece::End => return Ok(requirements),
                _ => {
                    return Err(format!(
                        "found '{text}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut piece, mut key) = self.take(Context::Values);
        let negated = piece == Piece::Not;
        if negated {
            (piece, key) = self.take(Context::Values);
        }
        if piece != Piece::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let wrong = label::key_errors(&key);
        if !wrong.is_empty() {
            // The path is upstream's: it has none there.
            return Err(format!(
                "<nil>: Invalid value: {key:?}: {}",
                wrong.join("; ")
            ));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.look(Context::Values).0, Piece::End | Piece::Comma) {
            return Requirement::new(key, Operator::Exists, BTreeSet::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.take(Context::KeyAndOperator) {
            (Piece::In, _) => Operator::In,
            (Piece::NotIn, _) => Operator::NotIn,
            (Piece::Equals | Piece::DoubleEquals, _) => Operator::Equals,
            (Piece::NotEquals, _) => Operator::NotEquals,
            (Piece::GreaterThan, _) => Operator::GreaterThan,
            (Piece::LessThan, _) => Operator::LessThan,
            (_, text) => {
                return Err(format!(
                    "found '{text}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (piece, text) = self.take(Context::Values);
        if piece != Piece::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        let (piece, text) = self.look(Context::Values);
        match piece {
            Piece::Identifier | Piece::Comma => {
                let values = self.identifiers()?;
                match self.take(Context::Values).0 {
                    Piece::Closed => Ok(values),
                    _ => Err(format!("found '{text}', expected: ')'")),
                }
            }
            Piece::Closed => {
                self.take(Context::Values);
                Ok(BTreeSet::new())
            }
            _ => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.take(Context::Values) {
                (Piece::Identifier, text) => {
                    values.insert(text);
                    match self.look(Context::Values) {
                        (Piece::Comma, _) => {}
                        (Piece::Closed, _) => return Ok(values),
                        (_, text) => {
                            return Err(format!("found '{text}', expected: ',' or ')'"));
                        }
                    }
                }
                (Piece::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.look(Context::Values).0 {
                        Piece::Closed => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Piece::Comma => {
                            self.take(Context::Values);
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, text) => {
                    return Err(format!("found '{text}', expected: ',', or identifier"));
                }
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, String> {
        if matches!(self.look(Context::Values).0, Piece::End | Piece::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take(Context::Values) {
            (Piece::Identifier, text) => Ok(BTreeSet::from([text])),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn look(&mut self, context: Context) -> Token {
        let token = self.0.peek().cloned();
        in_context(token, context)
    }

    fn take(&mut self, context: Context) -> Token {
        let token = self.0.next();
        in_context(token, context)
    }
}

fn in_context(token: Option<Token>, context: Context) -> Token {
    match token {
        Some((Piece::In | Piece::NotIn, text)) if context == Context::Values => {
            (Piece::Identifier, text)
        }
        Some(token) => token,
        None => (Piece::End, String::new()),
    }
}
