//! Flags of the commands that are not one run: suite, sweep, compare, limits, and the hidden broker.
//!
//!     bench sweep --param in-flight=1,5 --repeat 3 [flags of the workload]
//!                 └──────── ours ────────────────┘ └─── handed on ───────┘

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Workload;

/// Scenarios, each against a broker of its own.
#[derive(Args, Clone, Debug)]
pub struct SuiteFlags {
    /// These scenarios only: `--only B3,B5`.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Times the length of each; 1 is a few seconds.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_scale)]
    pub scale: f64,
    /// Print what would be run.
    #[arg(long)]
    pub list: bool,
    /// Where the brokers make their directories.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Cores of each broker.
    #[arg(long, value_name = "LIST", default_value = "0")]
    pub cpus: String,
    /// All results, as an array.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// One parameter, several values.
#[derive(Args, Clone, Debug)]
pub struct SweepFlags {
    /// A flag of the workload and its values: `--param in-flight=1,5,16`.
    #[arg(long, value_name = "FLAG=V1,V2,…")]
    pub param: Param,
    #[arg(long, value_enum, default_value = "produce")]
    pub workload: Workload,
    /// How often each value is run; values take turns.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// All results and their medians.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Flags of the workload, after ours.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    pub rest: Vec<String>,
}

/// Two results of `--json`.
#[derive(Args, Clone, Debug)]
pub struct CompareFlags {
    /// Before.
    #[arg(value_name = "A.json")]
    pub before: PathBuf,
    /// After.
    #[arg(value_name = "B.json")]
    pub after: PathBuf,
}

/// What a sweep changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// Without the dashes.
    pub name: String,
    pub values: Vec<String>,
}

impl FromStr for Param {
    type Err = String;

    fn from_str(text: &str) -> Result<Param, String> {
        let wrong = || format!("{text:?} is not FLAG=V1,V2: give in-flight=1,5,16");
        let (name, values) = text.trim_start_matches('-').split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        if name.is_empty() || values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Param { name: name.to_owned(), values })
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.01..=10_000.0).contains(&scale) => Ok(scale),
        _ => Err("give a factor from 0.01 to 10000".to_owned()),
    }
}

#[derive(Args, Clone, Debug)]
pub struct LimitsFlags {
    /// Where the disk is measured.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,
    /// Cores that a broker would have.
    #[arg(long, value_name = "LIST", default_value = "0", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// As JSON, with the keys of a run's `limits`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct BrokerFlags {
    #[arg(long)]
    pub data_dir: PathBuf,
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    #[arg(long)]
    pub broker_set: Vec<String>,
    #[arg(long)]
    pub kafka: bool,
    #[arg(long)]
    pub parent: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_a_name_and_values() {
        let param = Param { name: "in-flight".to_owned(), values: vec!["1".to_owned(), "5".to_owned()] };
        assert_eq!("in-flight=1,5".parse(), Ok(param.clone()));
        assert_eq!("--in-flight=1,5".parse(), Ok(param));
        for wrong in ["", "x", "=1", "x=", "x=1,,2"] {
            assert!(wrong.parse::<Param>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_scale_is_a_sane_factor() {
        assert_eq!(parse_scale("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "x"] {
            assert!(parse_scale(wrong).is_err(), "{wrong}");
        }
    }
}
