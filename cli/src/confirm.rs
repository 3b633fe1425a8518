//! The question before something is destroyed.
//!
//!     a terminal    Really delete topic "orders" and all its records? [y/N]
//!     a script      refused: it says --yes, or nothing is done

use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Asks whether to do `what`, a sentence without its end.
pub fn confirm(what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("to {what} needs a confirmation, and nobody is here to ask"))
            .with_next("in a script, say --yes"));
    }
    eprint!("Really {what}? [y/N] ");
    let mut answer = String::new();
    let asked = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    match asked {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::new(Exit::Error, "nothing was deleted")),
        Err(error) => Err(Failure::new(Exit::Error, format!("cannot read the answer: {error}"))),
    }
}
