package main

// securityCommands are about what is switched off: both sides say so in the same way.
func securityCommands() []command {
	return []command{
		{name: "acls", smoke: true, unordered: true, lines: append(on("acls", "--list", "--list --topic t", "--list --principal User:a --principal User:b --group g", "--add --allow-principal User:a --operation Read --topic t",
			"--add --allow-principal User:a --producer --topic t --transactional-id x --idempotent", "--add --allow-principal User:a --consumer --topic t --group g --allow-host 10.0.0.1",
			"--add --deny-principal User:a --deny-host 10.0.0.1 --deny-host 10.0.0.2 --operation alterconfigs --cluster", "--add --allow-principal User:a --topic pre --resource-pattern-type prefixed",
			"--remove --topic t --force", "--remove --allow-principal User:a --operation Write --topic t --force", "--remove --topic t --resource-pattern-type match --force",
			"--add --allow-principal User:a --topic t --resource-pattern-type any", "--add --allow-principal User:a --topic t --resource-pattern-type odd", "--add --allow-principal User:a", "--add --topic t",
			"--add --allow-principal a --topic t", "--list --add", "", "--list --producer", "--add --producer", "--add --consumer --topic t", "--add --idempotent --topic t", "--add --principal User:a --topic t",
			"--add --producer --topic t --operation Read", "--list --bootstrap-controller x:1", "--nonsense",
			"--add --user-principal User:b --allow-principal User:a --operation DescribeTokens", "--add --delegation-token d --allow-principal User:a --operation Describe"),
			"acls --list", "acls")},
		{name: "acls with operations that resources do not have", wordless: true, lines: on("acls", "--add --topic t --allow-principal User:a --operation DescribeTokens", "--add --cluster --allow-principal User:a --operation Read --operation Write")},
		{name: "delegation tokens", smoke: true, files: map[string]string{"client": "client.id=parity\n"},
			lines: append(on("delegation-tokens --command-config DIR/client", "--create --max-life-time-period -1 --renewer-principal User:r", "--create --max-life-time-period 1000 --owner-principal User:o",
				"--renew --hmac aGVsbG8= --renew-time-period -1", "--expire --hmac aGVsbG8= --expiry-time-period -1", "--describe", "--describe --owner-principal User:o", "--create", "--renew --renew-time-period 5", "--expire --hmac aGVsbG8=",
				"", "--create --describe", "--describe --hmac x", "--describe --owner-principal o"),
				on("delegation-tokens", "--describe")...)},
	}
}
