package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// order is what the shop sends for a purchase.
type order struct {
	OrderID  string    `json:"orderId"`
	Customer string    `json:"customer"`
	Country  string    `json:"country"`
	Items    []item    `json:"items"`
	Total    int       `json:"totalCents"`
	At       time.Time `json:"at"`
}

type item struct {
	Article  string `json:"article"`
	Quantity int    `json:"quantity"`
	Price    int    `json:"priceCents"`
}

var countries = []string{"CZ", "DE", "AT", "PL", "SK", "FR", "IT"}

var articles = []struct {
	name  string
	price int
}{
	{"espresso cups", 1890}, {"garden hose", 2450}, {"desk lamp", 3999}, {"rain jacket", 8900}, {"notebook", 450},
	{"tea, 100 g", 690}, {"bicycle bell", 1250}, {"chess set", 4200}, {"wool socks", 1100}, {"headphones", 12900},
}

// shop makes up orders; the same seed makes the same ones.
type shop struct {
	random *rand.Rand
	next   int
}

func newShop(seed uint64) *shop {
	return &shop{random: rand.New(rand.NewPCG(seed, seed))}
}

func (s *shop) order(at time.Time) order {
	s.next++
	// Few customers buy often.
	customer := int(min(s.random.ExpFloat64()*400, 4999))
	o := order{
		OrderID:  fmt.Sprintf("o-%06d", s.next),
		Customer: fmt.Sprintf("c-%04d", customer),
		Country:  countries[customer%len(countries)],
		At:       at,
	}
	for range 1 + s.random.IntN(4) {
		article := articles[s.random.IntN(len(articles))]
		quantity := 1 + s.random.IntN(3)
		o.Items = append(o.Items, item{article.name, quantity, article.price})
		o.Total += quantity * article.price
	}
	return o
}

func (o order) encode() ([]byte, error) { return json.Marshal(o) }

func decodeOrder(data []byte) (order, error) {
	var o order
	err := json.Unmarshal(data, &o)
	return o, err
}
