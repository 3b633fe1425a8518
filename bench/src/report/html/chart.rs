//! A line chart as SVG: no script, no font, no network; colours are classes of the page's style.
//!
//!     y │      ╭──    Axis::Log      1 · 2 · 5 · 10 …      latencies
//!       │ ╭────╯      Axis::Linear   0 · 25 · 50 …         throughput
//!       └────────     Axis::Nines    0 % · 90 % · 99 % …   how far to the worst: log10 of 1 in how many
//!
//! A point tells its values when the pointer is over it (`<title>`), which every browser shows.

use std::fmt::Write;

/// How values become places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// From 0.
    Linear,
    Log,
    /// Of quantiles.
    Nines,
}

pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub struct Chart {
    pub x: Axis,
    pub y: Axis,
    /// Written behind the values of the y axis.
    pub unit: &'static str,
    pub series: Vec<Series>,
}

/// A range of values on an axis.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
}

impl Axis {
    /// A place on the axis, of any origin; `None` of what has none.
    fn place(self, value: f64) -> Option<f64> {
        // The larger of a number and NaN is the number: what is none is asked first.
        value.is_finite().then(|| match self {
            Axis::Linear => value,
            Axis::Log => value.max(LOG_MIN).log10(),
            Axis::Nines => -(1.0 - value).max(NINES_MIN).log10(),
        })
    }
}

impl Scale {
    fn of(axis: Axis, values: impl Iterator<Item = f64>) -> Scale {
        let places = values.filter_map(|value| axis.place(value));
        let (mut low, mut high) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
        if !low.is_finite() {
            (low, high) = (0.0, 1.0);
        }
        match axis {
            Axis::Linear => (low, high) = (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Axis::Log => (low, high) = (low - 0.05, (high + 0.05).max(low + 0.5)),
            Axis::Nines => (low, high) = (0.0, high.max(1.0)),
        }
        Scale { axis, low, high }
    }

    /// From 0 to 1.
    fn share(&self, value: f64) -> Option<f64> {
        let place = self.axis.place(value)?;
        Some(((place - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }

    fn ticks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Linear => {
                let step = round_step(self.high / 5.0);
                (0..=12).map(|n| f64::from(n) * step).take_while(|tick| *tick <= self.high).collect()
            }
            Axis::Log => {
                let decades = self.low.floor() as i32..=self.high.ceil() as i32;
                let all = decades.flat_map(|n| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(n)));
                all.filter(|tick| (self.low..=self.high).contains(&tick.log10())).collect()
            }
            Axis::Nines => (0..=self.high.floor() as i32).map(|nines| 1.0 - 10f64.powi(-nines)).collect(),
        }
    }

    fn label(&self, value: f64, unit: &str) -> String {
        match self.axis {
            Axis::Nines => percent(value),
            Axis::Linear | Axis::Log => format!("{}{unit}", number(value)),
        }
    }
}

/// 1, 2 or 5 times a power of ten, and not below `wanted`.
fn round_step(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.max(LOG_MIN).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= wanted)
        .unwrap_or(wanted)
}

/// As many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => crate::units::thousands(value.abs() as u64),
        size if size >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}").trim_end_matches('0').to_owned(),
    }
}

/// `0.999` as `99.9 %`.
fn percent(quantile: f64) -> String {
    let text = format!("{:.6}", 100.0 * quantile);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

impl Chart {
    /// The legend and the picture.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Scale::of(self.x, points().map(|point| point.0));
        let y = Scale::of(self.y, points().map(|point| point.1));
        let mut text = self.legend();
        put(&mut text, format_args!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">"));
        self.grid(&mut text, &x, &y);
        for (at, series) in self.series.iter().enumerate() {
            self.line(&mut text, at, series, &x, &y);
        }
        text + "</svg>"
    }

    fn legend(&self) -> String {
        let mut text = String::from("<div class=\"legend\">");
        for (at, series) in self.series.iter().enumerate() {
            let name = escaped(&series.name);
            put(&mut text, format_args!("<span><i class=\"s{}\"></i>{name}</span>", at % COLOURS));
        }
        text + "</div>"
    }

    fn grid(&self, text: &mut String, x: &Scale, y: &Scale) {
        for tick in y.ticks() {
            let Some(at) = y.share(tick).map(up) else { continue };
            let right = WIDTH - RIGHT;
            put(text, format_args!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
            let (label, below) = (y.label(tick, self.unit), at + 4.0);
            put(
                text,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>",
                    LEFT - 8.0
                ),
            );
        }
        for tick in x.ticks() {
            let Some(at) = x.share(tick).map(across) else { continue };
            let bottom = HEIGHT - BOTTOM;
            put(text, format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
            let label = x.label(tick, " s");
            put(
                text,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                    HEIGHT - 8.0
                ),
            );
        }
    }

    fn line(&self, text: &mut String, at: usize, series: &Series, x: &Scale, y: &Scale) {
        let places: Vec<(f64, f64, &(f64, f64))> = series
            .points
            .iter()
            .filter_map(|point| Some((across(x.share(point.0)?), up(y.share(point.1)?), point)))
            .collect();
        let colour = at % COLOURS;
        put(text, format_args!("<path class=\"line s{colour}\" d=\""));
        for (at, (x, y, _)) in places.iter().enumerate() {
            put(text, format_args!("{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' }));
        }
        text.push_str("\"/>");
        for (px, py, (vx, vy)) in &places {
            let (name, vx, vy) = (escaped(&series.name), x.label(*vx, " s"), y.label(*vy, self.unit));
            put(
                text,
                format_args!(
                    "<circle class=\"dot s{colour}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"5\"><title>{name}: {vy} at \
                     {vx}</title></circle>"
                ),
            );
        }
    }
}

fn across(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn up(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece).expect("BUG: a string takes everything");
}

/// Text that stands between tags or in quotes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Classes `s0` to `s5` of the style.
const COLOURS: usize = 6;
const LOG_MIN: f64 = 1e-3;
/// Seven nines: nobody measures more records than that.
const NINES_MIN: f64 = 1e-7;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, values: &[f64]) -> Vec<String> {
        let scale = Scale::of(axis, values.iter().copied());
        scale.ticks().into_iter().map(|tick| scale.label(tick, "")).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(Axis::Linear, &[3.0, 97.0]), ["0", "50", "100"]);
        assert_eq!(labels(Axis::Log, &[0.5, 8.0]), ["0.5", "1", "2", "5"]);
        assert_eq!(labels(Axis::Nines, &[0.0, 0.9995]), ["0 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn the_last_of_all_is_on_the_nines_axis() {
        let scale = Scale::of(Axis::Nines, [0.5, 1.0].into_iter());
        assert_eq!(scale.share(1.0), Some(1.0));
        assert!(scale.share(0.9).unwrap() < 0.2);
    }

    #[test]
    fn nothing_and_nonsense_make_a_picture_all_the_same() {
        for points in [vec![], vec![(f64::NAN, f64::INFINITY)], vec![(0.0, 0.0)]] {
            for axis in [Axis::Linear, Axis::Log, Axis::Nines] {
                let series = vec![Series { name: "<a>".to_owned(), points: points.clone() }];
                let svg = Chart { x: axis, y: axis, unit: " ms", series }.svg();
                assert!(svg.ends_with("</svg>") && svg.contains("&lt;a&gt;"), "{svg}");
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
