// What the suites of clients with modules of their own have in common; it needs nothing but Go.
module github.com/moldau/moldau/test/compat/expect

go 1.26
