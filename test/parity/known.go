package main

// known are the differences that are meant, with their reasons.
var known = map[string]string{}
