// One line for each applet: its folder, which is also the name of its cargo feature.
applets! {
    transferdump
    store
    retrieve
    delete
    list
    getdump
    setdump
    listen
    adopt
    activate
    import
    fdholderd
    daemon
}
