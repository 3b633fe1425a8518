//! Stdout: tables for people, JSON for programs, and a writer for streams of records.

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// `-o`
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(clap::Args)]
pub struct Output {
    /// A table for people, JSON for programs
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub format: Format,
}

/// Large enough that a million short lines are some hundred writes.
const BUFFER_BYTES: usize = 256 << 10;

pub type Stdout = BufWriter<StdoutLock<'static>>;

pub fn stdout() -> Stdout {
    BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())
}

pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).expect("BUG: our own types are JSON"))
}

/// A table without lines, numbers to the right: easy to read, and to `awk`.
pub fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    let mut numeric = [true; N];
    for row in rows {
        for (numeric, cell) in numeric.iter_mut().zip(&row) {
            *numeric &= cell.parse::<i64>().is_ok();
        }
        table.add_row(row);
    }
    for (i, numeric) in numeric.into_iter().enumerate() {
        let column = table.column_mut(i).expect("BUG: the header has this column");
        column.set_padding((0, 2));
        if numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [["orders".to_owned(), "4".to_owned()], ["x".to_owned(), "1024".to_owned()]];
        expect![[r#"
            NAME    PARTITIONS
            orders           4
            x             1024
        "#]]
        .assert_eq(&(table(["NAME", "PARTITIONS"], rows) + "\n"));
    }
}
