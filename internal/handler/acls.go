package handler

import "github.com/moldau/moldau/internal/kafka"

// errNoAuthorizer answers every question about ACLs: there is nobody who would enforce them.
var errNoAuthorizer = kafka.Errorf(kafka.ErrSecurityDisabled, "No Authorizer is configured on the broker")
