//! How deep the syntax tree of a statement can become, seen from its tokens alone.
//!
//! Every operator of a chain (`a + b + c`) is one level of the tree, so dropping, comparing or walking a tree
//! made of a long chain would overflow the stack. Chains that [`super::balance`] flattens may be long; all
//! others have a limit.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::too_complex;
use crate::error::Result;

/// Levels that chains of ordinary operators may add up to, over all parentheses around them.
const CHAIN_MAX: usize = 256;
/// Links of chains of AND, OR and set operations.
const FLAT_CHAIN_MAX: usize = 200_000;
/// Levels a thread's own stack is surely good for.
const LEVELS_WITHOUT_CARE: usize = 256;
/// What a level of the tree costs at most while it is parsed, balanced and dropped.
const BYTES_PER_LEVEL: usize = 2048;

/// What the tokens of a statement say about its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complexity {
    /// Levels of chains that stay as they are.
    chained: usize,
    /// Links of chains that are balanced.
    flat: usize,
}

impl Complexity {
    /// # Errors
    /// 54001 if the statement must not be parsed.
    pub fn check(self) -> Result<()> {
        if self.chained > CHAIN_MAX || self.flat > FLAT_CHAIN_MAX { Err(too_complex()) } else { Ok(()) }
    }

    /// Whether parsing might need more stack than a thread usually has.
    pub fn needs_stack(self) -> bool {
        self.flat > LEVELS_WITHOUT_CARE
    }

    /// A stack that is large enough.
    pub fn stack_bytes(self) -> usize {
        (16 << 20) + self.flat * BYTES_PER_LEVEL
    }
}

/// Counts the links of chains, parenthesis by parenthesis.
pub fn measure(tokens: &[TokenWithSpan]) -> Complexity {
    let mut open = vec![];
    let (mut chain, mut outer, mut chained, mut flat) = (0usize, 0usize, 0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(chain);
                outer += chain;
                chain = 0;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                if let Some(before) = open.pop() {
                    outer -= before;
                    chain = before;
                }
            }
            Token::Comma | Token::SemiColon => chain = 0,
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::AND | Keyword::OR | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => {
                    chain = 0;
                    flat += 1;
                }
                Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::VALUES => {
                    chain = 0
                }
                Keyword::NOT | Keyword::IS | Keyword::LIKE | Keyword::COLLATE | Keyword::AT | Keyword::JOIN => chain += 1,
                _ => {}
            },
            Token::Word(_) | Token::Number(..) | Token::Whitespace(_) | Token::Period | Token::EOF => {}
            Token::SingleQuotedString(_) | Token::Placeholder(_) => {}
            _ => chain += 1,
        }
        chained = chained.max(outer + chain);
    }
    Complexity { chained, flat }
}
