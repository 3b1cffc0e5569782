//! `s6-fdholderd`: the daemon, on a socket that listens already.

use crate::applets::options::fdholderd as option;
use crate::daemon::gate::Source;
use crate::daemon::{self, Settings};
use crate::exit;
use crate::getopt::Arguments;
use crate::sys::text::Text;

pub fn run(arguments: &mut Arguments) -> ! {
    let mut settings = Settings::DEFAULT;
    while let Some(letter) = arguments.option() {
        set(&mut settings, letter, arguments);
    }
    serve(&settings, arguments)
}

/// Takes an option of the daemon's, which both tools have by the same letters.
pub fn set(settings: &mut Settings, letter: u8, arguments: &Arguments) {
    let place = match letter {
        option::READY => {
            exit::require_output();
            return settings.says_ready = true;
        }
        option::RULES => return settings.rules = Some(Source::Directory(arguments.value)),
        option::RULES_FILE => return settings.rules = Some(Source::File(arguments.value)),
        option::VERBOSITY => &mut settings.verbosity,
        option::CLIENTS => &mut settings.clients,
        option::DESCRIPTORS => &mut settings.held,
        option::TIMEOUT => &mut settings.timeout,
        _ => &mut settings.lame_duck,
    };
    *place = arguments.number();
}

/// Is the daemon from now on, under this name whichever tool was called. Without rules it is wrong
/// usage.
pub fn serve(settings: &Settings, arguments: &Arguments) -> ! {
    let Some(rules) = settings.rules else { arguments.applet.wrong_usage() };
    exit::speak_as(Text::new(c"s6-fdholderd"));
    daemon::serve(settings, rules, arguments.auxiliary.random())
}
