//! The supported processors: those with a file in `src/sys/arch/mod.rs`. This is part of `build.rs`.

/// The reason why the program cannot be built for a processor, a system and a pointer width, as Cargo
/// names them; `None` if it can. `source` is the text of `src/sys/arch/mod.rs`.
pub fn refusal(arch: &str, os: &str, width: &str, source: &str) -> Option<String> {
    let files = source.lines().filter(|line| line.contains("path = ") && !line.contains("miri.rs"));
    let names = files.filter_map(|line| line.split("target_arch = \"").nth(1)?.split('"').next());
    let names: Vec<&str> = names.collect();
    // A processor can have an ABI of another pointer width (x32, n32, ILP32), which has other system
    // calls.
    let is_narrow = ["x86", "arm", "mips"].contains(&arch);
    let is_supported = names.contains(&arch) && is_narrow == (width == "32");
    let is_supported = is_supported && ["linux", "android"].contains(&os);
    (!is_supported).then(|| {
        let names = names.join(", ");
        format!(
            "fdholder cannot be built for {arch} with {width}-bit pointers and {os}: it supports Linux \
             on {names}. src/lib.rs, \"A processor\", says how to add one."
        )
    })
}
