//! Units, what they measure and how they convert.

use std::sync::LazyLock;

use crate::quality::arithmetic::Rational;
use crate::quality::words::WordClasses;

/// What a unit measures. Only within one dimension can quantities be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Seconds.
    Time,
    /// Months: they have no fixed number of days.
    Calendar,
    /// Metres.
    Length,
    /// Grams.
    Mass,
    /// Millilitres.
    Volume,
    /// American cents, and dollars of any country.
    Dollar,
    /// Euro cents.
    Euro,
    /// Bits: a kilobyte has 1000 or 1024 bytes.
    Data,
    /// Degrees of any scale, which do not convert by a factor.
    Temperature,
}

/// By which system a unit is defined; conversions from one into another are rounded in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Metric, and time, money, data.
    Metric,
    /// The units of the United States.
    Customary,
}

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it measures.
    pub dimension: Dimension,
    /// How many of the dimension's base unit it is.
    pub factor: Rational,
    /// Its system.
    pub system: System,
    /// Its name in English, in the singular.
    pub name: &'static str,
}

type Row = (Dimension, System, i128, i128, &'static str, &'static str);

/// Dimension, system, factor, name, and how it is written: English, German, French, Spanish, Italian,
/// Portuguese, Russian, in every number.
const ROWS: [Row; 47] = {
    use Dimension::{Calendar, Data, Dollar, Euro, Length, Mass, Temperature, Time, Volume};
    use System::{Customary, Metric};
    [
        (
            Time,
            Metric,
            1,
            1000,
            "millisecond",
            "millisecond milliseconds ms",
        ),
        (
            Time,
            Metric,
            1,
            1,
            "second",
            "second seconds sec secs sekunde sekunden seconde secondes segundo segundos secondo secondi секунд секунды",
        ),
        (
            Time,
            Metric,
            60,
            1,
            "minute",
            "minute minutes min mins minuten minuto minutos minuti минут минуты",
        ),
        (
            Time,
            Metric,
            3600,
            1,
            "hour",
            "hour hours hr hrs stunde stunden heure heures hora horas ora ore час часа часов",
        ),
        (
            Time,
            Metric,
            86_400,
            1,
            "day",
            "day days tag tage tagen jour jours día días dia dias giorno giorni день дня дней",
        ),
        (
            Time,
            Metric,
            604_800,
            1,
            "week",
            "week weeks woche wochen semaine semaines semana semanas settimana settimane неделя недели недель",
        ),
        (
            Calendar,
            Metric,
            1,
            1,
            "month",
            "month months monat monate monaten mois mes meses mese mesi mês месяц месяца месяцев",
        ),
        (
            Calendar,
            Metric,
            12,
            1,
            "year",
            "year years yr yrs jahr jahre jahren année années an ans año años anno anni ano anos год года лет",
        ),
        (
            Calendar,
            Metric,
            120,
            1,
            "decade",
            "decade decades jahrzehnt jahrzehnte",
        ),
        (
            Calendar,
            Metric,
            1200,
            1,
            "century",
            "century centuries jahrhundert jahrhunderte",
        ),
        (
            Length,
            Metric,
            1,
            1000,
            "millimetre",
            "mm millimeter millimeters millimetre millimetres millimètres milímetros millimetri",
        ),
        (
            Length,
            Metric,
            1,
            100,
            "centimetre",
            "cm centimeter centimeters centimetre centimetres zentimeter centimètre centimètres centímetro centímetros centimetro centimetri",
        ),
        (
            Length,
            Metric,
            1,
            1,
            "metre",
            "meter meters metre metres mètre mètres metro metros metri метр метра метров",
        ),
        (
            Length,
            Metric,
            1000,
            1,
            "kilometre",
            "km kms kilometer kilometers kilometre kilometres kilomètre kilomètres kilómetro kilómetros quilómetro quilómetros quilômetros chilometro chilometri километр километра километров",
        ),
        (Length, Customary, 254, 10_000, "inch", "inch inches"),
        (Length, Customary, 3048, 10_000, "foot", "foot feet ft"),
        (Length, Customary, 9144, 10_000, "yard", "yard yards yd yds"),
        (Length, Customary, 1_609_344, 1000, "mile", "mile miles"),
        (
            Mass,
            Metric,
            1,
            1000,
            "milligram",
            "mg milligram milligrams milligramm",
        ),
        (
            Mass,
            Metric,
            1,
            1,
            "gram",
            "g gram grams gramm gramme grammes gramo gramos grammo grammi grama gramas",
        ),
        (
            Mass,
            Metric,
            1000,
            1,
            "kilogram",
            "kg kgs kilo kilos kilogram kilograms kilogramm kilogramme kilogrammes kilogramo kilogramos quilo quilos chilo chili chilogrammi",
        ),
        (
            Mass,
            Customary,
            45_359_237,
            100_000,
            "pound",
            "lb lbs pound pounds",
        ),
        (
            Mass,
            Customary,
            45_359_237,
            1_600_000,
            "ounce",
            "oz ounce ounces",
        ),
        (
            Volume,
            Metric,
            1,
            1,
            "millilitre",
            "ml milliliter milliliters millilitre millilitres",
        ),
        (
            Volume,
            Metric,
            10,
            1,
            "centilitre",
            "cl centiliter centilitre centilitres",
        ),
        (
            Volume,
            Metric,
            1000,
            1,
            "litre",
            "liter liters litre litres litro litros litri литр литра литров",
        ),
        (
            Volume,
            Customary,
            4929,
            1000,
            "teaspoon",
            "tsp teaspoon teaspoons",
        ),
        (
            Volume,
            Customary,
            14_787,
            1000,
            "tablespoon",
            "tbsp tablespoon tablespoons",
        ),
        (Volume, Customary, 236_592, 1000, "cup", "cup cups"),
        (Volume, Customary, 473_184, 1000, "pint", "pint pints"),
        (Volume, Customary, 946_368, 1000, "quart", "quart quarts"),
        (
            Volume,
            Customary,
            3_785_472,
            1000,
            "gallon",
            "gallon gallons",
        ),
        (
            Dollar,
            Metric,
            100,
            1,
            "dollar",
            "dollar dollars usd bucks dólar dólares dollari $",
        ),
        (
            Dollar,
            Metric,
            1,
            1,
            "cent",
            "cent cents ¢ penny pennies centavos",
        ),
        (Dollar, Metric, 5, 1, "nickel", "nickel nickels"),
        (Dollar, Metric, 10, 1, "dime", "dime dimes"),
        (Euro, Metric, 100, 1, "euro", "euro euros eur €"),
        (Data, Metric, 1, 1, "bit", "bits"),
        (Data, Metric, 8, 1, "byte", "byte bytes"),
        (Data, Metric, 8000, 1, "kilobyte", "kb kilobyte kilobytes"),
        (
            Data,
            Metric,
            8_000_000,
            1,
            "megabyte",
            "mb megabyte megabytes",
        ),
        (
            Data,
            Metric,
            8_000_000_000,
            1,
            "gigabyte",
            "gb gigabyte gigabytes",
        ),
        (
            Data,
            Metric,
            8_000_000_000_000,
            1,
            "terabyte",
            "tb terabyte terabytes",
        ),
        (Temperature, Metric, 1, 1, "degree Celsius", "celsius °c"),
        (
            Temperature,
            Customary,
            1,
            1,
            "degree Fahrenheit",
            "fahrenheit °f",
        ),
        (Length, Customary, 1852, 1, "nautical mile", "nmi"),
        (
            Time,
            Metric,
            1_209_600,
            1,
            "fortnight",
            "fortnight fortnights",
        ),
    ]
};

static UNITS: LazyLock<WordClasses<u8>> = LazyLock::new(|| {
    let mut lists = Vec::new();
    for (index, row) in ROWS.iter().enumerate() {
        if let Ok(index) = u8::try_from(index) {
            lists.push((index, row.5));
        }
    }
    WordClasses::new(&lists)
});

/// What stands for a unit in scripts without spaces, the longest first.
const SPACELESS: [(&str, &str); 14] = [
    ("分钟", "minute"),
    ("小时", "hour"),
    ("時間", "hour"),
    ("公里", "kilometre"),
    ("千米", "kilometre"),
    ("厘米", "centimetre"),
    ("公斤", "kilogram"),
    ("千克", "kilogram"),
    ("美元", "dollar"),
    ("欧元", "euro"),
    ("秒", "second"),
    ("天", "day"),
    ("克", "gram"),
    ("米", "metre"),
];

/// The unit of a word's hash, as [`crate::quality::words::words`] gives it.
pub(crate) fn by_hash(hash: u64) -> Option<Unit> {
    UNITS
        .get(hash)
        .map(|index| build(&ROWS[usize::from(index)]))
}

fn build(row: &Row) -> Unit {
    Unit {
        dimension: row.0,
        // No denominator above is zero.
        factor: Rational::new(row.2, row.3).unwrap_or(Rational::ONE),
        system: row.1,
        name: row.4,
    }
}

/// The unit that a text begins with, as it stands behind a number: a word, a sign, or characters.
#[must_use]
pub fn unit_at(text: &str) -> Option<Unit> {
    let first = text.chars().next()?;
    if crate::quality::words::is_spaceless(first) {
        return SPACELESS
            .iter()
            .find(|(written, _)| text.starts_with(written))
            .and_then(|(_, name)| ROWS.iter().find(|row| row.4 == *name))
            .map(build);
    }
    let end = text
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(text.len())
        .max(if first.is_alphabetic() {
            0
        } else {
            first.len_utf8()
        });
    by_hash(crate::quality::words::hash_word(&text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_units_however_they_are_written() {
        for (text, name) in [
            ("hours", "hour"),
            ("Hours left", "hour"),
            ("Stunden", "hour"),
            ("小时", "hour"),
            ("km", "kilometre"),
            ("$", "dollar"),
            ("€", "euro"),
            ("lbs.", "pound"),
        ] {
            assert_eq!(unit_at(text).map(|unit| unit.name), Some(name), "{text}");
        }
        for text in ["apples", "", "xhours", "鸡", "m"] {
            assert_eq!(unit_at(text), None, "{text}");
        }
    }

    #[test]
    fn converts_within_a_dimension() {
        let factor = |text: &str| unit_at(text).unwrap().factor;
        assert_eq!(
            factor("hours").divided_by(factor("minutes")),
            Some(Rational::integer(60))
        );
        assert_eq!(
            factor("mile").divided_by(factor("feet")),
            Some(Rational::integer(5280))
        );
        assert_eq!(
            factor("gallons").divided_by(factor("cups")),
            Some(Rational::integer(16))
        );
        assert_eq!(
            factor("cups").divided_by(factor("tablespoons")),
            Some(Rational::integer(16))
        );
        assert_eq!(
            factor("tbsp").divided_by(factor("tsp")),
            Some(Rational::integer(3))
        );
    }
}
